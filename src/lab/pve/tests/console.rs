//! The serial console of a machine, over the websocket with a token.

use super::*;
use crate::lab::pve::replay::socket::{frame, received};
use crate::lab::pve::replay::wire::Connection;

/// Asks for a terminal, and for the websocket that leads to it.
async fn terminal(lab: &Lab, vmid: u32, form: &[(&str, &str)]) -> (Connection, u16, String) {
    let ticket = lab.data("POST", &format!("/nodes/lab1/qemu/{vmid}/termproxy"), form).await;
    let text = |name: &str| ticket[name].as_str().unwrap().to_owned();
    let escaped =
        percent_encoding::utf8_percent_encode(&text("ticket"), percent_encoding::NON_ALPHANUMERIC).to_string();
    let head = format!(
        "GET /api2/json/nodes/lab1/qemu/{vmid}/vncwebsocket?port={}&vncticket={escaped} HTTP/1.1\r\nHost: lab\r\n\
         Authorization: PVEAPIToken={TOKEN_ID}={SECRET}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
        text("port")
    );
    let mut connection = Connection::open(lab.server.address(), &lab.ca.pem()).await;
    let answer = connection.exchange(head.as_bytes()).await.unwrap();
    (connection, answer.status, format!("{}:{}\n", text("user"), text("ticket")))
}

/// Output up to and with `wanted`.
async fn until(connection: &mut Connection, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        let frame = received(connection).await.unwrap_or_else(|| panic!("ended after {text:?}"));
        text.push_str(frame["payload"].as_str().unwrap());
    }
    text
}

#[tokio::test]
async fn a_machines_lines_arrive_from_the_connection_on_and_end_with_its_power() {
    let lab = lab(|_| ()).await;
    lab.shared.lock().pve.hypervisor = Hypervisor::Fleet;
    lab.data("POST", "/nodes/lab1/qemu", &[("vmid", "100"), ("serial0", "socket")]).await;
    lab.data("POST", "/nodes/lab1/qemu/100/status/start", &[]).await;
    let before = lab.shared.lock().fleet.machine(100).unwrap().console.len();
    assert!(before > 0, "an empty machine says that it has nothing to boot");

    let (mut connection, status, opening) = terminal(&lab, 100, &[]).await;
    assert_eq!(status, 101);
    connection.send(&frame(2, opening.as_bytes())).await;
    let greeting = until(&mut connection, "\r\n").await;
    assert_eq!(greeting, "OKstarting serial terminal on interface serial0 (no escape character set)\r\n");
    lab.data("POST", "/nodes/lab1/qemu/100/status/reset", &[]).await;
    let told = until(&mut connection, "\r\n").await;
    let said = lab.shared.lock().fleet.machine(100).unwrap().console.last().unwrap().clone();
    assert_eq!(told, format!("{said}\r\n"));
    connection.send(&frame(9, b"x")).await;
    assert_eq!(received(&mut connection).await.unwrap()["opcode"], 10);
    lab.data("POST", "/nodes/lab1/qemu/100/status/stop", &[]).await;
    assert!(connection.is_closed_by_server().await);
}

#[tokio::test]
async fn a_wrong_ticket_a_missing_port_and_a_machine_that_is_off_end_it() {
    let lab = lab(|_| ()).await;
    lab.shared.lock().pve.hypervisor = Hypervisor::Fleet;
    lab.data("POST", "/nodes/lab1/qemu", &[("vmid", "100"), ("serial0", "socket")]).await;
    let (mut off, status, opening) = terminal(&lab, 100, &[]).await;
    assert_eq!(status, 101);
    off.send(&frame(2, opening.as_bytes())).await;
    assert_eq!(until(&mut off, "\r\n").await, "OKVM 100 not running\r\n");
    assert!(off.is_closed_by_server().await);

    lab.data("POST", "/nodes/lab1/qemu/100/status/start", &[]).await;
    let (mut other, _, opening) = terminal(&lab, 100, &[("serial", "serial1")]).await;
    other.send(&frame(2, opening.as_bytes())).await;
    assert_eq!(until(&mut other, "\r\n").await, "OKunable to find a serial interface\r\n");

    let (mut stranger, _, _) = terminal(&lab, 100, &[]).await;
    stranger.send(&frame(2, b"root@pam:PVEVNC:0\n")).await;
    assert!(stranger.is_closed_by_server().await);
    let path = "/nodes/lab1/qemu/100/vncwebsocket?port=5900&vncticket=PVEVNC%3A0";
    let (status, body) = lab.call("GET", path, &[]).await.unwrap();
    assert_eq!((status, &body["message"]), (401, &json!("permission denied - invalid PVEVNC ticket\n")));
}
