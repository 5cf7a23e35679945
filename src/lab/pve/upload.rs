//! The multipart parser of uploads: order-sensitive and literal.
//!
//! Fields come before the file, the file is the last part, and whatever follows
//! it is part of the file (pve-http-server: src/PVE/APIServer/AnyEvent.pm).

use bytes::Bytes;

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

/// Takes the body apart.
pub(super) fn parse(body: &Bytes, boundary: &str) -> Result<Parts, Broken> {
    let failed = || Broken::Died(format!("upload failed {AT} 1370.\n"));
    let start = format!("--{boundary}\r\n");
    let mut fields = Raw::new();
    let mut at = 0;
    loop {
        let rest = &body[at..];
        if !rest.starts_with(start.as_bytes()) {
            return Err(failed());
        }
        let head_end = find(rest, b"\r\n\r\n").ok_or_else(failed)?;
        let head = String::from_utf8_lossy(&rest[start.len()..head_end.max(start.len())]).into_owned();
        let first = head.lines().next().unwrap_or_default();
        let content = at + head_end + 4;
        let disposition = first.strip_prefix("Content-Disposition: form-data; name=\"").ok_or_else(failed)?;
        let (name, after) = disposition.split_once('"').ok_or_else(failed)?;
        if let Some(file) = after.strip_prefix("; filename=\"").and_then(|file| file.strip_suffix('"')) {
            if name != "filename" {
                let text = format!("wrong field name '{name}' for file upload, expected 'filename'");
                return Err(Broken::Died(format!("{text} {AT} 1325.\n")));
            }
            fields.insert("filename".into(), file.into());
            return Ok(Parts { fields, file: file_part(body, content, boundary) });
        }
        if !FIELDS.contains(&name) {
            return Err(Broken::BadRequest);
        }
        let separator = format!("\r\n--{boundary}");
        let end = find(&body[content..], separator.as_bytes()).ok_or_else(failed)?;
        let value = String::from_utf8_lossy(&body[content..content + end]).into_owned();
        fields.insert(name.to_owned(), value.trim().into());
        at = content + end + 2;
    }
}

/// From `start` up to the closing boundary at the very end of the body.
fn file_part(body: &Bytes, start: usize, boundary: &str) -> Bytes {
    let rest = body.slice(start..);
    let close = format!("--{boundary}--");
    let trimmed = rest.strip_suffix(b"\r\n").unwrap_or(&rest);
    let Some(inner) = trimmed.strip_suffix(close.as_bytes()) else { return rest };
    let inner = inner.strip_suffix(b"\r\n").unwrap_or(inner);
    rest.slice(..inner.len())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
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
        let parts = parse(&body(&[FILE, CONTENT]), "B").unwrap();
        assert!(!parts.fields.contains_key("content"));
        assert!(parts.file.starts_with(b"ABC\r\n--B\r\nContent-Disposition"));
    }

    #[test]
    fn anything_else_is_refused_and_nothing_panics() {
        let died = |result| matches!(result, Err(Broken::Died(_)));
        assert!(died(parse(&body(&[CONTENT]), "B")));
        assert!(died(parse(&body(&[CONTENT, FILE]), "\"B\"")));
        assert!(died(parse(&body(&[&FILE.replace("\"filename\"", "\"file\"")]), "B")));
        assert!(died(parse(&Bytes::from("--B\r\n\r\n\r\n"), "B")));
        assert!(died(parse(&Bytes::new(), "B")));
        assert_eq!(parse(&body(&[&CONTENT.replace("content", "x")]), "B"), Err(Broken::BadRequest));
    }
}
