//! `download-url` and `query-url-metadata`: files that the node fetches itself.

use bytes::Bytes;
use flate2::read::GzDecoder;
use ruzstd::decoding::StreamingDecoder;
use serde_json::{Value, json};
use std::io::Read;
use url::Url;

use super::answer::{Failure, Reply};
use super::call::Call;
use super::fetch::{self, Internet, Unreachable};
use super::file;
use super::volume;
use super::work::{Job, Order, Work, pause};
use crate::lab::clock::{Clock, physics};
use crate::lab::world::Shared;

/// A download that passed every check.
pub(super) struct Request {
    url: String,
    node: String,
    storage: String,
    content: String,
    name: String,
    checksum: Option<(String, String)>,
    compression: Option<String>,
    verify: bool,
}

/// `POST .../download-url`
pub(super) fn call(call: &mut Call) -> Result<Reply, Failure> {
    let (node, storage) = (call.node().to_owned(), call.text("storage").to_owned());
    let content = call.text("content").to_owned();
    let definition = volume::usable(&call.world.site, &node, &storage).map_err(Failure::die)?;
    if !volume::is_file_based(definition) {
        let kind = &definition.kind;
        return Err(Failure::die(format!("can't upload to storage type '{kind}', not a file based storage!")));
    }
    if !definition.content.contains(&content) {
        let text = format!("storage '{storage}' is not configured for content-type '{content}'");
        return Err(Failure::die(text));
    }
    let name = file::normalise(call.text("filename"));
    file::check_name(&content, &name)?;
    let request = Request {
        url: call.text("url").to_owned(),
        node: node.clone(),
        storage,
        content,
        name: name.clone(),
        checksum: call.opt("checksum").map(|sum| (call.text("checksum-algorithm").to_owned(), sum.to_owned())),
        compression: call.opt("compression").map(str::to_owned),
        verify: call.opt("verify-certificates") != Some("0"),
    };
    Ok(Reply::Task(Job::plain("download", &node, name, Work::Download(request))))
}

pub(super) async fn work(shared: &Shared, order: &Order, request: &Request, clock: Clock) -> Result<(), String> {
    let log = |line: String| shared.lock().pve.tasks.log(&order.upid, line);
    let iso = request.content == "iso";
    match request.compression.as_deref() {
        Some(_) if !iso => return Err(format!("decompression not supported for {}", request.content)),
        Some(kind) if !["gz", "lzo", "zst", "bz2"].contains(&kind) => {
            return Err("no decompression method found".into());
        }
        _ => {}
    }
    let (existing, path, internet) = {
        let world = shared.lock();
        let definition = volume::usable(&world.site, &request.node, &request.storage)?;
        let name = format!("{}/{}", request.content, request.name);
        let place = volume::place(&world.site, &request.node, &format!("{}:{name}", request.storage));
        let existing = place.and_then(|place| world.pve.volumes.get(&place)).map(|volume| volume.data.clone());
        (existing, volume::path(definition, &name), Internet::of(&world))
    };
    log(format!("downloading {} to {path}", request.url));
    if let Some(data) = existing {
        return unless_equal(&log, request, &data, &path);
    }
    let url = Url::parse(&request.url).map_err(|_| "download failed: exit code 1".to_owned())?;
    let data = fetched(&log, request, &url, &internet, &path).await?;
    if internet.is_far(&url) {
        pause(clock.span(physics::IMAGE_DOWNLOAD)).await;
    }
    if let Some((algorithm, wanted)) = &request.checksum {
        let got = file::checksum(algorithm, &data);
        if !got.eq_ignore_ascii_case(wanted) {
            log("calculating checksum...".to_owned());
            return Err(format!("checksum mismatch: got '{got}' != expect '{wanted}'"));
        }
        log("calculating checksum...OK, checksum verified".to_owned());
    }
    let temporary =
        format!("{path}.tmp_dwnl.{}", shared.lock().pve.tasks.get(&order.upid).map_or(0, |task| task.log.len()));
    if let Err((line, text)) = file::verify_image(&request.content, &request.name, &data, &temporary) {
        log(line);
        return Err(format!("failed to verify file: {text}"));
    }
    let data = match request.compression.as_deref() {
        None => data,
        Some(kind) => {
            log(format!("decompressing {temporary} to {}", temporary.replace("tmp_dwnl", "tmp_dcom")));
            unpack(kind, &data)?
        }
    };
    let mut world = shared.lock();
    let now = super::now();
    file::store(&mut world, &request.node, &request.storage, &request.content, &request.name, data, now)
        .map_err(|_| "download failed: exit code 3".to_owned())?;
    world.pve.tasks.log(&order.upid, format!("download of '{}' to '{path}' finished", request.url));
    Ok(())
}

/// The rules for a file that is already there.
fn unless_equal(log: &(dyn Fn(String) + Sync), request: &Request, data: &[u8], path: &str) -> Result<(), String> {
    let Some((algorithm, wanted)) = &request.checksum else {
        return Err(format!("refusing to override existing file '{path}'"));
    };
    let got = file::checksum(algorithm, data);
    let line = "calculating checksum of existing file...";
    if got.eq_ignore_ascii_case(wanted) {
        log(format!("{line}OK, got correct file already, no need to download"));
        return Ok(());
    }
    log(line.to_owned());
    Err(format!("checksum mismatch: got '{got}' != expect '{wanted}', aborting"))
}

/// What the download tool does, in its words as far as callers see them.
async fn fetched(
    log: &(dyn Fn(String) + Sync),
    request: &Request,
    url: &Url,
    internet: &Internet,
    path: &str,
) -> Result<Bytes, String> {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    let failed = |text: String| format!("download failed: {text}");
    match fetch::fetch(url, false, request.verify, internet).await {
        Ok(answer) if answer.status < 400 => {
            log(format!("Connecting to {host}:{port}... connected."));
            log(format!("HTTP request sent, awaiting response... {} {}", answer.status, answer.reason));
            log(format!(
                "Length: {} [{}]",
                answer.body.len(),
                answer.mime.as_deref().unwrap_or("application/octet-stream")
            ));
            log(format!("Saving to: '{path}'"));
            Ok(answer.body)
        }
        Ok(answer) => {
            log(format!("HTTP request sent, awaiting response... {} {}", answer.status, answer.reason));
            log(format!("ERROR {}: {}.", answer.status, answer.reason));
            Err(failed("exit code 8".into()))
        }
        Err(Unreachable::Name(host)) => Err(failed(format!("wget: unable to resolve host address '{host}'"))),
        Err(Unreachable::Refused { host, port }) => {
            Err(failed(format!("Connecting to {host}:{port}... failed: Connection refused.")))
        }
        Err(Unreachable::Untrusted { host, .. }) => {
            log(format!("ERROR: The certificate of '{host}' is not trusted."));
            Err(failed(format!("ERROR: The certificate of '{host}' doesn't have a known issuer.")))
        }
        Err(Unreachable::Broken(text)) => {
            log(text);
            Err(failed("exit code 4".into()))
        }
    }
}

fn unpack(kind: &str, data: &[u8]) -> Result<Bytes, String> {
    let mut out = Vec::new();
    let most = 256 << 20;
    let done = match kind {
        "gz" => GzDecoder::new(data).take(most).read_to_end(&mut out).is_ok(),
        "zst" => StreamingDecoder::new(data).is_ok_and(|decoder| decoder.take(most).read_to_end(&mut out).is_ok()),
        _ => false,
    };
    if done { Ok(out.into()) } else { Err(format!("decompression failed: {kind}: not in a format of the lab")) }
}

/// What a request for metadata asks.
pub(super) struct Query {
    pub url: String,
    pub verify: bool,
    pub internet: Internet,
}

/// The checks of `GET /nodes/{node}/query-url-metadata`; the rest happens without the lock.
pub(super) fn query(call: &Call) -> Query {
    Query {
        url: call.text("url").to_owned(),
        verify: call.opt("verify-certificates") != Some("0"),
        internet: Internet::of(call.world),
    }
}

pub(super) async fn metadata(query: &Query) -> Result<Value, Failure> {
    let invalid = |text: String| Failure::die(format!("invalid server response: '{text}'"));
    let url = Url::parse(&query.url).map_err(|_| invalid("500 Can't connect".into()))?;
    let answer = match fetch::fetch(&url, true, query.verify, &query.internet).await {
        Ok(answer) if answer.status < 400 => answer,
        Ok(answer) => return Err(invalid(format!("{} {}", answer.status, answer.reason))),
        Err(Unreachable::Refused { host, port }) => {
            return Err(invalid(format!("500 Can't connect to {host}:{port} (Connection refused)")));
        }
        Err(Unreachable::Untrusted { host, port }) => {
            return Err(invalid(format!("500 Can't connect to {host}:{port} (certificate verify failed)")));
        }
        Err(Unreachable::Name(host)) => {
            let port = url.port_or_known_default().unwrap_or(80);
            return Err(invalid(format!("500 Can't connect to {host}:{port} (Name or service not known)")));
        }
        Err(Unreachable::Broken(text)) => return Err(invalid(format!("500 {text}"))),
    };
    let mut data = json!({});
    if let Some(length) = answer.length {
        data["size"] = length.into();
    }
    if let Some(mime) = &answer.mime {
        data["mimetype"] = mime.split(';').next().unwrap_or_default().trim().into();
    }
    let given = answer.disposition.as_deref().and_then(|text| text.split_once("filename="));
    let given = given.map(|(_, name)| name.trim_matches('"').to_owned());
    let name = given.or_else(|| url.path_segments().and_then(|mut parts| parts.next_back()).map(str::to_owned));
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        data["filename"] = name.into();
    }
    Ok(data)
}
