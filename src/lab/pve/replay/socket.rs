//! Plays a recorded websocket conversation.

use serde_json::{Value, json};

use super::compare::difference;
use super::wire::Connection;

/// A client's frame: whole, masked.
pub(in crate::lab::pve) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(short) if short < 126 => frame.push(0x80 | short),
        _ => {
            frame.push(0xfe);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

pub(in crate::lab::pve) async fn received(connection: &mut Connection) -> Option<Value> {
    let head = connection.take(2).await?;
    let length = match head[1] & 0x7f {
        126 => {
            let long = connection.take(2).await?;
            usize::from(u16::from_be_bytes([long[0], long[1]]))
        }
        short => usize::from(short),
    };
    let payload = connection.take(length).await?;
    let payload = String::from_utf8_lossy(&payload).into_owned();
    Some(json!({ "fin": head[0] >> 7, "opcode": head[0] & 15, "masked": head[1] >> 7, "payload": payload }))
}

/// Says what the client said, and compares what the server says. `opening` is `USER:TICKET` and a line's end.
pub(in crate::lab::pve) async fn play(
    connection: &mut Connection,
    frames: &[Value],
    opening: &str,
) -> Result<(), String> {
    // How the output is cut into frames depends on the moment.
    let mut output = String::new();
    for said in frames {
        match (said[0].as_str().unwrap_or_default(), &said[1]) {
            ("server", Value::Object(frame)) if frame["opcode"] == 2 => {
                let wanted = frame["payload"].as_str().unwrap_or_default();
                while output.len() < wanted.len() {
                    let ours = received(connection).await.ok_or("the connection ended")?;
                    let head = json!({ "fin": ours["fin"], "opcode": ours["opcode"], "masked": ours["masked"] });
                    difference("frame", &head, &json!({ "fin": 1, "opcode": 2, "masked": 0 })).map_or(Ok(()), Err)?;
                    output.push_str(ours["payload"].as_str().unwrap_or_default());
                }
                let rest = output.strip_prefix(wanted).ok_or_else(|| format!("{output:?}, recorded {wanted:?}"))?;
                output = rest.to_owned();
            }
            ("server", Value::Object(_)) => {
                let ours = received(connection).await.ok_or("the connection ended")?;
                difference("frame", &ours, &said[1]).map_or(Ok(()), Err)?;
            }
            ("server", _) => {
                if !connection.is_closed_by_server().await {
                    return Err("the connection goes on".into());
                }
            }
            (_, what) => {
                let bytes = match what.as_str().unwrap_or_default() {
                    "USER:TICKET\\n" => frame(2, opening.as_bytes()),
                    "ping frame" => frame(9, b""),
                    "close frame 1000" => frame(8, &1000_u16.to_be_bytes()),
                    text => frame(2, text.as_bytes()),
                };
                connection.send(&bytes).await;
            }
        }
    }
    Ok(())
}
