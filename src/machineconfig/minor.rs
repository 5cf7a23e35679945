//! How each Talos minor reads, merges and validates a configuration: one row each.
//!
//! This is the version that *runs* (the machine's), not the [contract](super::Contract), which says what was generated
//! for it; a machine accepts older contracts unchanged. Code asks a field. What validation
//! says was observed on 1.9.6, 1.10.9, 1.11.6, 1.12.11, 1.13.9 and 1.14.0-rc.1, the rest on these from 1.11 on; for 1.9
//! and 1.10 it was read from source.

use super::contract::{BadVersion, Version};

/// The behaviour of one Talos minor towards a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minor {
    /// `1.N`.
    pub(super) number: u32,
    /// Decoding errors name the document and its line.
    pub(super) errors_name_document: bool,
    /// Words of YAML 1.1 are quoted like all that would be misread, by `"`; later by `'`.
    pub(super) lookalikes_in_double_quotes: bool,
    /// Validation errors carry the document that they belong to.
    pub(super) validation_names_document: bool,
    /// A pointer to zero on the right overwrites the left.
    pub(super) pointer_zero_overwrites: bool,
    /// A document that is empty, or nothing but comments, fails; later it is passed over.
    pub(super) null_documents_fail: bool,
    /// An integer may be written with a fraction, which is cut off; later only one without is taken.
    pub(super) integers_cut_fractions: bool,
    /// A duration may be a plain `0`.
    pub(super) durations_take_zero: bool,
    /// A plain date is no text, and whole floats are as good as integers for durations.
    pub(super) dates_are_no_texts: bool,
    /// Prefixes and addresses that are no list fail to merge, whatever they are.
    pub(super) prefixes_fail_to_merge: bool,
    /// A type that reads its own texts ends decoding with its own words when it fails; later it is one problem of all.
    pub(super) own_decoders_stop: bool,
    /// The greatest size of a volume may be a percentage.
    pub(super) sizes_take_percent: bool,
    /// Sizes of volumes may have a minus.
    pub(super) sizes_may_be_negative: bool,
    /// Encryption of a volume is written when its provider or its keys are set, whatever else is; before, when anything
    /// is.
    pub(super) zero_by_fields: bool,
    /// `cluster.controlPlane` is written even when it is null.
    pub(super) null_control_plane_written: bool,
    /// Where Go's type of free-form objects lives, for texts.
    pub(super) free_form_package: &'static str,
    /// A patch that does not repeat `maxSize` clears it, as all do with `minSize`.
    pub(super) max_size_cleared_by_omission: bool,
    /// `extraArgs` values may be lists, and merge key by key, empty ones included.
    pub(super) args_are_lists: bool,
    /// One patch file may hold the same document twice.
    pub(super) patch_may_repeat_document: bool,
    /// A deletion of a document that is not there stays in the configuration as a document that cannot be read, and a
    /// patch does not see the documents that it brought itself. Later it is passed over.
    pub(super) deletes_left_over: bool,
    /// Of two documents that configure one link, the peers of `veth` pairs included, the second fails to load.
    pub(super) links_claimed_once: bool,
    /// A patch argument of one bare word is a file's name.
    pub(super) bare_word_is_file: bool,
    /// `$patch: delete` reaches below free-form objects.
    pub(super) deletes_in_free_form: bool,
    /// `machine.install` is needed in metal mode.
    pub(super) install_required: bool,
    /// `cluster.controlPlane` is needed.
    pub(super) control_plane_required: bool,
    /// Host DNS and discovery are checked across documents, not inside v1alpha1.
    pub(super) cross_document_checks: bool,
    /// `forwardKubeDNSToHost` without host DNS is an error.
    pub(super) host_dns_forward_checked: bool,
    /// `kubeNetworkPoliciesEnabled` is checked against the CNI's name.
    pub(super) flannel_policies_checked: bool,
    /// `machine.files` and `machine.baseRuntimeSpecOverrides` draw warnings.
    pub(super) warns_of_files: bool,
    /// Talos API access from Kubernetes needs `features.rbac`; later that is always on.
    pub(super) needs_rbac_feature: bool,
    /// Where the warning about system extensions sends its reader.
    pub(super) extensions_guide: &'static str,
    /// How the error about a filter of `KubeSpan` endpoints spells the word.
    pub(super) kubespan_filter_word: &'static str,
    /// Every role of the Talos API.
    pub(super) roles: &'static [&'static str],
    /// `ResolverConfig` is looked into.
    pub(super) resolver_checked: bool,
    /// Words that `arpValidate` of a v1alpha1 bond may be.
    pub(super) arp_validate: &'static [&'static str],
    /// CEL makes durations of integers, too (cel-go before 0.31).
    pub(super) cel_duration_of_integer: bool,
    /// The name of a `LinkAliasConfig` may be a pattern such as `net%d`.
    pub(super) link_alias_patterns: bool,
    /// A registry's client identity has to be PEM of both halves; before, both had to be readable.
    pub(super) client_identity_as_pem: bool,
    /// Names that a `VolumeConfig` may have.
    pub(super) system_volumes: &'static [&'static str],
}

const VOLUMES: &[&str] = &["STATE", "EPHEMERAL", "IMAGECACHE"];

const V1_11: Minor = Minor {
    number: 11,
    errors_name_document: false,
    lookalikes_in_double_quotes: true,
    validation_names_document: false,
    pointer_zero_overwrites: false,
    null_documents_fail: true,
    integers_cut_fractions: true,
    durations_take_zero: false,
    dates_are_no_texts: false,
    prefixes_fail_to_merge: true,
    own_decoders_stop: true,
    sizes_take_percent: false,
    sizes_may_be_negative: false,
    zero_by_fields: false,
    null_control_plane_written: true,
    free_form_package: "v1alpha1",
    max_size_cleared_by_omission: true,
    args_are_lists: false,
    patch_may_repeat_document: false,
    deletes_left_over: true,
    links_claimed_once: false,
    bare_word_is_file: false,
    deletes_in_free_form: false,
    install_required: true,
    control_plane_required: true,
    cross_document_checks: false,
    host_dns_forward_checked: false,
    flannel_policies_checked: false,
    warns_of_files: false,
    needs_rbac_feature: true,
    extensions_guide: "https://www.talos.dev/latest/talos-guides/install/boot-assets/",
    kubespan_filter_word: "filer",
    arp_validate: &["none", "active", "backup", "all"],
    roles: &["os:admin", "os:operator", "os:reader", "os:etcd:backup", "os:impersonator"],
    resolver_checked: false,
    cel_duration_of_integer: true,
    link_alias_patterns: false,
    client_identity_as_pem: false,
    system_volumes: VOLUMES,
};

const V1_10: Minor = Minor { number: 10, system_volumes: &["EPHEMERAL", "IMAGECACHE"], ..V1_11 };

const V1_12: Minor = Minor {
    number: 12,
    errors_name_document: true,
    validation_names_document: true,
    needs_rbac_feature: false,
    kubespan_filter_word: "filter",
    arp_validate: &["none", "active", "backup", "all", "filter", "filter-active", "filter-backup"],
    pointer_zero_overwrites: true,
    null_documents_fail: false,
    own_decoders_stop: false,
    sizes_take_percent: true,
    zero_by_fields: true,
    max_size_cleared_by_omission: false,
    bare_word_is_file: true,
    deletes_in_free_form: true,
    ..V1_11
};

const V1_13: Minor = Minor {
    number: 13,
    args_are_lists: true,
    integers_cut_fractions: false,
    durations_take_zero: true,
    sizes_may_be_negative: true,
    host_dns_forward_checked: true,
    flannel_policies_checked: true,
    roles: &[
        "os:admin",
        "os:operator",
        "os:reader",
        "os:etcd:backup",
        "os:impersonator",
        "os:image:verifier",
        "os:meta:writer",
    ],
    link_alias_patterns: true,
    extensions_guide: "https://docs.siderolabs.com/talos/latest/platform-specific-installations/boot-assets",
    ..V1_12
};

const V1_14: Minor = Minor {
    number: 14,
    prefixes_fail_to_merge: false,
    free_form_package: "meta",
    patch_may_repeat_document: true,
    deletes_left_over: false,
    null_control_plane_written: false,
    lookalikes_in_double_quotes: false,
    links_claimed_once: true,
    install_required: false,
    control_plane_required: false,
    cross_document_checks: true,
    warns_of_files: true,
    resolver_checked: true,
    cel_duration_of_integer: false,
    client_identity_as_pem: true,
    system_volumes: &["STATE", "EPHEMERAL", "IMAGECACHE", "ETCD", "CRI", "KUBELET", "LOG"],
    dates_are_no_texts: true,
    ..V1_13
};

const ROWS: [Minor; 6] = [Minor { number: 9, ..V1_10 }, V1_10, V1_11, V1_12, V1_13, V1_14];

impl Minor {
    /// The newest row.
    pub const NEWEST: Self = V1_14;

    /// The row for a Talos version such as `v1.12.4` or `1.13`.
    pub fn parse(text: &str) -> Result<Self, BadVersion> {
        let version = Version::parse(text)?;
        ROWS.into_iter().find(|row| version.is(row.number)).ok_or_else(|| BadVersion::unsupported(version))
    }

    /// Whether a machine of this minor knows the documents of that contract. A newer one reads every older contract.
    pub fn reads(&self, contract: &super::Contract) -> bool {
        contract.minor() <= self.number
    }

    /// Whether something that came with Talos `1.<since>` is known.
    pub(super) fn knows(&self, since: u32) -> bool {
        self.number >= since
    }
}
