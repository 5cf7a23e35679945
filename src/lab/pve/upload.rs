//! The multipart parser of uploads: order-sensitive and literal.
//!
//! Fields come before the file, the file is the last part, and whatever follows
//! it is part of the file (pve-http-server: src/PVE/APIServer/AnyEvent.pm).

use bytes::Bytes;
use regex::bytes::Regex;

use super::verify::Raw;

/// What an upload carries: fields by name (`filename` among them) and the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub fields: Raw,
    pub file: Bytes,
}

/// Why a body is no upload: status and the whole text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// 400 `Bad Request` without a body.
    BadRequest,
    /// 500 with a text that ends in a source line.
    Died(String),
}

const AT: &str = "at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line";
const FIELDS: &[&str] = &["content", "checksum-algorithm", "checksum"];

/// The boundary of a Content-Type: everything up to white space, quotes included.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let rest = content_type.strip_prefix("multipart/form-data")?;
    let (_, value) = rest.split_once("boundary=")?;
    value.split_whitespace().next()
}

/// Takes the body apart, with the expressions upstream looks for. Those are lazy and look beyond a part, so that a part
/// nobody knows becomes a piece of the next one's head.
pub(super) fn parse(body: &Bytes, boundary: &str) -> Result<Parts, Broken> {
    let failed = || Broken::Died(format!("upload failed {AT} 1370.\n"));
    let delimiter = format!("--{}\\r?\\n", regex::escape(boundary));
    let first = matcher(&delimiter)?.find(body).ok_or_else(failed)?;
    let mut at = first.start();
    let mut fields = Raw::new();
    for name in FIELDS {
        let sought = format!("^{delimiter}.*?Content-Disposition: (.*?); name=\"{name}\"(.*?{delimiter})");
        let Some(found) = matcher(&sought)?.captures(window(body, at)) else { continue };
        of_form(&found[1])?;
        let after = at + found.get(2).map_or(0, |rest| rest.start());
        let start = skip_head(body, after)?;
        let Some(next) = matcher(&delimiter)?.find(&body[start..]) else { continue };
        let value = String::from_utf8_lossy(&body[start..start + next.start()]).into_owned();
        fields.insert((*name).to_owned(), value.trim().into());
        at = start + next.start();
    }
    let sought = format!("^{delimiter}Content-Disposition: (.*?); name=\"(.*?)\"; filename=\"([^\"]+)\"");
    let found = matcher(&sought)?.captures(window(body, at)).ok_or_else(failed)?;
    of_form(&found[1])?;
    let name = String::from_utf8_lossy(&found[2]);
    if name != "filename" {
        let text = format!("wrong field name '{name}' for file upload, expected 'filename'");
        return Err(died(format!("{text} {AT} 1325.\n")));
    }
    // Bytes, not letters: each byte of a letter beyond ASCII is one that no file name may have.
    let file: String = found[3].iter().map(|byte| char::from(*byte)).collect();
    fields.insert("filename".into(), file.trim().into());
    let start = skip_head(body, at + found[0].len())?;
    let close = matcher(&format!("(?:\\r?\\n)?--{}--", regex::escape(boundary)))?;
    let end = close.find(&body[start..]).ok_or_else(failed)?;
    Ok(Parts { fields, file: body.slice(start..start + end.start()) })
}

/// Where fields are looked for: upstream looks in what has come by then, and a file is longer.
const WINDOW: usize = 64 * 1024;

fn window(body: &Bytes, at: usize) -> &[u8] {
    &body[at..body.len().min(at + WINDOW)]
}

fn matcher(text: &str) -> Result<Regex, Broken> {
    Regex::new(&format!("(?s-u){text}")).map_err(|_| Broken::BadRequest)
}

/// The start of a part's data: behind the empty line, if there is one.
fn skip_head(body: &Bytes, at: usize) -> Result<usize, Broken> {
    Ok(matcher("(?:\\r?\\n){2}")?.find(&body[at..]).map_or(at, |blank| at + blank.end()))
}

fn of_form(disposition: &[u8]) -> Result<(), Broken> {
    if disposition == b"form-data" {
        return Ok(());
    }
    let text = String::from_utf8_lossy(disposition);
    Err(died(format!("wrong Content-Disposition '{text}' in multipart, expected 'form-data'\n")))
}

/// A text whose first line has a carriage return makes no status line.
fn died(text: String) -> Broken {
    let first = text.split('\n').next().unwrap_or_default();
    if first.contains('\r') { Broken::BadRequest } else { Broken::Died(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(parts: &[&str]) -> Bytes {
        Bytes::from(["--B\r\n", &parts.join("\r\n--B\r\n"), "\r\n--B--\r\n"].concat())
    }

    const CONTENT: &str = "Content-Disposition: form-data; name=\"content\"\r\n\r\niso";
    const FILE: &str =
        "Content-Disposition: form-data; name=\"filename\"; filename=\"u.iso\"\r\nContent-Type: x/y\r\n\r\nABC";

    #[test]
    fn fields_then_file() {
        let parts = parse(&body(&[CONTENT, FILE]), "B").unwrap();
        assert_eq!((parts.fields["content"].as_str(), parts.fields["filename"].as_str()), (Some("iso"), Some("u.iso")));
        assert_eq!(parts.file, "ABC");
    }

    #[test]
    fn what_follows_the_file_is_the_file() {
        let parts = parse(&body(&[CONTENT, FILE, "\r\nmore"]), "B").unwrap();
        assert!(parts.file.starts_with(b"ABC\r\n--B\r\n\r\nmore"));
        let trailing = Bytes::from([&body(&[CONTENT, FILE])[..], b"trailing"].concat());
        assert_eq!(parse(&trailing, "B").unwrap().file, "ABC");
    }

    #[test]
    fn anything_else_is_refused_and_nothing_panics() {
        let died = |result| matches!(result, Err(Broken::Died(_)));
        assert!(died(parse(&body(&[CONTENT]), "B")));
        assert!(died(parse(&body(&[CONTENT, FILE]), "\"B\"")));
        assert!(died(parse(&body(&[&FILE.replace("\"filename\"", "\"file\"")]), "B")));
        assert!(died(parse(&Bytes::from("--B\r\n\r\n\r\n"), "B")));
        assert!(died(parse(&Bytes::new(), "B")));
        assert!(died(parse(&body(&[&CONTENT.replace("content", "x")]), "B")));
        // The unknown part and the next one's head are one name, over several lines.
        assert_eq!(parse(&body(&[&CONTENT.replace("content", "x"), FILE]), "B"), Err(Broken::BadRequest));
    }
}
