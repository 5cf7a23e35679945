//! Recorded steps of another shape than one request and one answer.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wire::Connection;

const TOKEN: &str = "Authorization: PVEAPIToken=talos@pve!ci=00000000-0000-4000-8000-000000000012\r\n";

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET /api2/json{path} HTTP/1.1\r\nHost: pve1:8006\r\n{TOKEN}{headers}\r\n").into_bytes()
}

fn expect<T: PartialEq + std::fmt::Debug + ?Sized>(what: &str, ours: &T, recorded: &T) -> Result<(), String> {
    if ours == recorded { Ok(()) } else { Err(format!("{what}: {ours:?}, recorded {recorded:?}")) }
}

/// Plays the scenario `name`, if it is one of them.
pub(super) async fn play(name: &str, address: SocketAddr, ca: &str) -> Option<Result<(), String>> {
    Some(match name {
        "pipelining two GETs" => pipelining(address, ca).await,
        "plain HTTP on the TLS port" => plain(address).await,
        "compression" => compression(address, ca).await,
        "Expect: 100-continue" => no_continue(address, ca).await,
        _ => return None,
    })
}

async fn pipelining(address: SocketAddr, ca: &str) -> Result<(), String> {
    let mut connection = Connection::open(address, ca).await;
    connection.send(&[get("/version", ""), get("/version", "")].concat()).await;
    for which in ["first", "second"] {
        let answer = connection.answer().await.ok_or_else(|| format!("no {which} answer"))?;
        expect(which, &answer.status, &200)?;
    }
    Ok(())
}

async fn plain(address: SocketAddr) -> Result<(), String> {
    for (method, line) in [("GET", "301 Moved Permanently"), ("POST", "308 Permanent Redirect")] {
        let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let head = format!("{method} /api2/json/version HTTP/1.1\r\nHost: pve1:8006\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).await.map_err(|error| error.to_string())?;
        let body = &line[4..];
        let mut text = String::new();
        let mut bytes = [0; 1024];
        while !text.ends_with(body) {
            let count = stream.read(&mut bytes).await.map_err(|error| error.to_string())?;
            if count == 0 {
                return Err(format!("closed after {text:?}"));
            }
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        expect("status line", &text.lines().next(), &Some(format!("HTTP/1.1 {line}").as_str()))?;
        for header in ["Location: https://pve1:8006/api2/json/version\r\n", "Connection: Keep-Alive\r\n"] {
            expect(header, &text.contains(header), &true)?;
        }
    }
    Ok(())
}

async fn compression(address: SocketAddr, ca: &str) -> Result<(), String> {
    for (path, encoding, magic) in
        [("/nodes/pve1/capabilities/qemu/cpu", Some("gzip"), [0x1f, 0x8b]), ("/version", None, [0x7b, 0x22])]
    {
        let mut connection = Connection::open(address, ca).await;
        let answer = connection.exchange(&get(path, "Accept-Encoding: gzip\r\n")).await.ok_or("no answer")?;
        expect("Content-Encoding", &answer.header("content-encoding"), &encoding)?;
        expect("Connection", &answer.header("connection"), &Some("Keep-Alive"))?;
        expect("magic", &answer.body[..2], &magic[..])?;
    }
    Ok(())
}

/// Not a byte comes before the body was sent.
async fn no_continue(address: SocketAddr, ca: &str) -> Result<(), String> {
    let mut connection = Connection::open(address, ca).await;
    let kind = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 6\r\nExpect: 100-continue\r\n";
    let path = "/api2/json/nodes/pve1/qemu/385/config";
    connection.send(format!("PUT {path} HTTP/1.1\r\nHost: pve1:8006\r\n{TOKEN}{kind}\r\n").as_bytes()).await;
    let early = tokio::time::timeout(Duration::from_millis(200), connection.answer()).await;
    expect("an answer before the body", &early.is_ok(), &false)?;
    connection.send(b"tags=a").await;
    let answer = connection.answer().await.ok_or("no answer")?;
    expect("status", &answer.status, &200)
}
