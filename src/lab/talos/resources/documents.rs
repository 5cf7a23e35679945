//! Looks into the machine configuration that is in force, in either of its forms.

use serde_json::Value;

use super::View;

/// The documents of a configuration.
pub(super) struct Documents(Vec<Value>);

impl Documents {
    /// Of a machine that has left maintenance mode.
    pub(super) fn of(view: &View<'_>) -> Option<Self> {
        let config = view.system.config.as_ref().filter(|config| config.complete)?;
        serde_saphyr::from_multiple(&config.text).ok().map(Self)
    }

    /// At a JSON pointer of the `v1alpha1` document.
    pub(super) fn main(&self, pointer: &str) -> Option<&Value> {
        let main = self.0.iter().find(|document| document.get("kind").is_none() && document.is_object())?;
        main.pointer(pointer).filter(|value| !value.is_null())
    }

    /// At a JSON pointer of the first document of `kind`.
    pub(super) fn named(&self, kind: &str, pointer: &str) -> Option<&Value> {
        let document = self.0.iter().find(|document| document.get("kind").and_then(Value::as_str) == Some(kind))?;
        document.pointer(pointer).filter(|value| !value.is_null())
    }

    /// A text of a document of its own, or of the `v1alpha1` document; or empty.
    pub(super) fn text(&self, kind: &str, pointer: &str, main: &str) -> String {
        let found = self.named(kind, pointer).or_else(|| self.main(main));
        found.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    pub(super) fn flag(&self, main: &str) -> bool {
        self.main(main).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(super) fn texts(&self, kind: &str, pointer: &str, main: &str) -> Vec<String> {
        let found = self.named(kind, pointer).or_else(|| self.main(main)).and_then(Value::as_array);
        found.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The networks of pods and of services.
    pub(super) fn subnets(&self) -> (Vec<String>, Vec<String>) {
        let or = |found: Vec<String>, default: &str| if found.is_empty() { vec![default.to_owned()] } else { found };
        (
            or(self.texts("KubeNetworkConfig", "/podSubnets", "/cluster/network/podSubnets"), "10.244.0.0/16"),
            or(self.texts("KubeNetworkConfig", "/serviceSubnets", "/cluster/network/serviceSubnets"), "10.96.0.0/12"),
        )
    }

    /// The address at which the cluster's DNS server is: the tenth of the services' network.
    pub(super) fn dns_service(&self) -> Option<String> {
        let services = self.subnets().1;
        let net: ipnet::Ipv4Net = services.first()?.parse().ok()?;
        Some(std::net::Ipv4Addr::from(u32::from(net.network()) + 10).to_string())
    }

    /// The reference of a component's image, with Talos's own default.
    pub(super) fn image(&self, kind: &str, main: &str, name: &str, version: &str) -> String {
        let asked = self.text(kind, "/image", main);
        if asked.is_empty() { format!("registry.k8s.io/{name}:v{version}") } else { asked }
    }
}
