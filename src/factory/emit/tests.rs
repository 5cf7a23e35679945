use super::*;

fn written(text: &str) -> String {
    let mut out = String::new();
    match scalar(&mut out, text, 10) {
        Ok(()) => out,
        Err(why) => format!("refused: {why}"),
    }
}

#[test]
fn what_looks_risky_and_is_plain() {
    for plain in [
        "a:b",
        "k=#x",
        "a#b",
        "-console",
        "-selinux",
        "--",
        "a[0]",
        "ip=[fd00::1]",
        "k=v,w",
        "console=ttyS0,115200n8",
        "a'b",
        "it's",
        "dyndbg=\"file foo +p\"",
        "1.2.3.4",
        ".",
        "_1",
        "0xg",
        "talos.logging.kernel=udp://127.0.0.1:6050",
        "ip=192.0.2.10::192.0.2.1:255.255.255.0::eth0:off",
        "1e400",
        "2024-02-30",
        "2024-13-01",
        "+",
        "1e",
        "0x",
        "é",
        "mitigations=off",
        "nUlL",
        "+-1",
    ] {
        assert_eq!(written(plain), plain);
    }
}

#[test]
fn what_would_be_read_as_something_else_is_double_quoted() {
    for other in [
        "",
        "~",
        "null",
        "True",
        "FALSE",
        ".nan",
        "-.inf",
        "+.INF",
        "123",
        "-123",
        "+1",
        "0x1F",
        "0o17",
        "0b11",
        "010",
        "089",
        "1_000",
        "1.5",
        "1.",
        ".5",
        "-0",
        "-0.0",
        "1e3",
        "99999999999999999999",
        "18446744073709551615",
        "-9223372036854775808",
        "2024-01-02",
        "2024-1-2",
    ] {
        assert_eq!(written(other), format!("\"{other}\""));
    }
}

#[test]
fn what_is_yaml_syntax_is_single_quoted() {
    for (text, quoted) in [
        ("a: b", "'a: b'"),
        ("a:", "'a:'"),
        ("k= #x", "'k= #x'"),
        ("- a", "'- a'"),
        ("-", "'-'"),
        ("#a", "'#a'"),
        ("---a", "'---a'"),
        ("...", "'...'"),
        (" a", "' a'"),
        ("a ", "'a '"),
        ("{\"externalIPs\":[\"1.2.3.4\"]}", "'{\"externalIPs\":[\"1.2.3.4\"]}'"),
        ("'a' b", "'''a'' b'"),
        ("`a", "'`a'"),
        ("@a", "'@a'"),
    ] {
        assert_eq!(written(text), quoted);
    }
}

#[test]
fn what_cannot_be_printed_is_escaped() {
    for (text, quoted) in [
        ("a\tb", r#""a\tb""#),
        ("x=\u{1f600}", r#""x=\U0001F600""#),
        ("a\rb", r#""a\rb""#),
        ("a\u{7f}\\\"", r#""a\x7F\\\"""#),
        ("a\u{9b}b", r#""a\x9Bb""#),
        ("a\u{feff}b", r#""a\uFEFFb""#),
        ("\u{0}\u{7}\u{8}\u{b}\u{c}\u{1b}", r#""\0\a\b\v\f\e""#),
    ] {
        assert_eq!(written(text), quoted);
    }
}

#[test]
fn several_lines_are_a_block_with_hint_and_chomping() {
    for (text, block) in [
        ("a\nb", "|-\n          a\n          b"),
        ("a\nb\n", "|\n          a\n          b"),
        ("a\n\n", "|+\n          a\n"),
        (" a\nb\n", "|4\n           a\n          b"),
        ("a\n\nb\n", "|\n          a\n\n          b"),
        ("a \nb", "\"a \\nb\""),
        ("a\r\nb\r\n", "\"a\\r\\nb\\r\\n\""),
        ("a\nb ", "\"a\\nb \""),
        (" \n ", "\" \\n \""),
    ] {
        assert_eq!(written(text), block, "{text:?}");
    }
}

#[test]
fn what_releases_of_the_factory_write_differently_is_refused() {
    for text in [
        "on",
        "Off",
        "NO",
        "y",
        "<<",
        "12:30",
        "1:20:05.5",
        "\na",
        "\u{feff}a",
        "a\u{2028}b",
        "2024-01-02T10:00:00Z",
        "2024-01-02 10:00:00",
        "a\u{a0}\t",
    ] {
        assert!(written(text).starts_with("refused: "), "{text:?} gave {}", written(text));
    }
}
