//! What is written: how it looks, and that every reader gets back what was meant.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::machineconfig::yaml;

/// Texts of pieces that mean something to some reader of YAML.
fn tricky() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "Z",
        "0",
        "1",
        "7",
        "9",
        "12",
        "x",
        "o",
        "b",
        "e",
        "E",
        "T",
        "_",
        ".",
        "-",
        "+",
        ":",
        "#",
        "?",
        ",",
        "~",
        "=",
        "<<",
        "*",
        "&",
        "!",
        "|",
        ">",
        "%",
        "@",
        "`",
        "'",
        "\"",
        "\\",
        "[",
        "]",
        "{",
        "}",
        " ",
        "  ",
        "\t",
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        "\0",
        "\x1b",
        "\x7f",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{feff}",
        "\u{ffff}",
        "é",
        "語",
        "😀",
        "---",
        "...",
        "yes",
        "off",
        "null",
        "true",
        ".inf",
        "2001-01-01",
        "$patch",
        "0x",
        "1_0",
    ]);
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![6 => tricky(), 1 => any::<String>(), 1 => "[0-9+.:_eExob-]{1,8}", 1 => "[a-z:# \n\t]{120,140}"]
}

fn tree() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_filter("JSON has no such number", |float| float.is_finite()).prop_map(Value::from),
        1 => (-3_i32..3, -8_i32..24).prop_map(|(digit, power)| Value::from(f64::from(digit) * 10_f64.powi(power))),
        8 => text().prop_map(Value::from),
    ];
    scalar.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn reads_back_here(tree in tree()) {
        let text = yaml::emit(&tree);
        let read = yaml::documents(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(read.len(), 1);
        prop_assert_eq!(read[0].to_value(), tree, "{}", text);
    }

    #[test]
    fn reads_back_by_another_reader(tree in tree()) {
        let text = yaml::emit(&tree);
        let read: Value = serde_saphyr::from_str(&text)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(read, tree, "{}", text);
    }

    #[test]
    fn documents_stand_beside_each_other(one in tree(), other in tree()) {
        let text = format!("{}---\n{}", yaml::emit(&one), yaml::emit(&other));
        let read = yaml::documents(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        let read: Vec<Value> = read.iter().map(yaml::Node::to_value).collect();
        prop_assert_eq!(read, [one, other], "{}", text);
    }
}

/// A text and how it is written. The rules behind the forms were tried on 60,000 arbitrary trees with yaml.v3 3.0.1 and go-yaml
/// v4.0.0-rc.6, PyYAML 6.0.3 (YAML 1.1) and ruamel.yaml 0.19.1 (YAML 1.2), and what any of them misread is quoted since.
const FORMS: &[(&str, &str)] = &[
    // As they are: what configurations are full of.
    ("10.0.0.10", "10.0.0.10"),
    ("10.0.0.0/24", "10.0.0.0/24"),
    ("fd00::1", "fd00::1"),
    ("https://[fd00::1]:6443", "https://[fd00::1]:6443"),
    ("https://10.0.0.10:6443/base?q=1", "https://10.0.0.10:6443/base?q=1"),
    ("registry.k8s.io/kube-proxy:v1.36.3", "registry.k8s.io/kube-proxy:v1.36.3"),
    ("v1.13.9", "v1.13.9"),
    ("1.13.9", "1.13.9"),
    ("bc:24:11:00:00:01", "bc:24:11:00:00:01"),
    ("aa:bb:*", "aa:bb:*"),
    ("disk.dev_path == \"/dev/sda\"", "disk.dev_path == \"/dev/sda\""),
    ("LS0tLS1CRUdJTg==", "LS0tLS1CRUdJTg=="),
    ("key=value", "key=value"),
    ("50%", "50%"),
    ("it's", "it's"),
    ("a#b", "a#b"),
    ("-1x", "-1x"),
    ("?x", "?x"),
    ("nürnberg", "nürnberg"),
    ("0xyz", "0xyz"),
    ("2024-01-01-backup", "2024-01-01-backup"),
    ("_1", "_1"),
    ("1e", "1e"),
    // Another type in Go.
    ("", r#""""#),
    ("~", r#""~""#),
    ("null", r#""null""#),
    ("true", r#""true""#),
    ("False", r#""False""#),
    ("1", r#""1""#),
    ("-1", r#""-1""#),
    ("+1", r#""+1""#),
    ("1.10", r#""1.10""#),
    (".5", r#"".5""#),
    ("1.", r#""1.""#),
    ("1e3", r#""1e3""#),
    ("1e999", r#""1e999""#),
    ("0644", r#""0644""#),
    ("089", r#""089""#),
    ("0x1F", r#""0x1F""#),
    ("0o17", r#""0o17""#),
    ("0b101", r#""0b101""#),
    ("1_000", r#""1_000""#),
    ("0x_", r#""0x_""#),
    ("99999999999999999999", r#""99999999999999999999""#),
    (".inf", r#"".inf""#),
    ("-.INF", r#""-.INF""#),
    (".nan", r#"".nan""#),
    ("2001-01-01", r#""2001-01-01""#),
    ("2001-1-1", r#""2001-1-1""#),
    ("2001-02-30", r#""2001-02-30""#),
    ("2001-12-14T21:59:43.10Z", r#""2001-12-14T21:59:43.10Z""#),
    ("2001-12-14 21:59:43.10 -5", r#""2001-12-14 21:59:43.10 -5""#),
    // Another type in YAML 1.1 only.
    ("on", "'on'"),
    ("Off", "'Off'"),
    ("yes", "'yes'"),
    ("NO", "'NO'"),
    ("yEs", "'yEs'"),
    ("y", "'y'"),
    ("12:30", "'12:30'"),
    ("02:00:00:00:00:01", "'02:00:00:00:00:01'"),
    ("1:20.5", "'1:20.5'"),
    ("<<", "'<<'"),
    ("=", "'='"),
    // Syntax.
    (" lead", "' lead'"),
    ("trail ", "'trail '"),
    ("# x", "'# x'"),
    ("a # b", "'a # b'"),
    ("a: b", "'a: b'"),
    ("fd00::", "'fd00::'"),
    ("- x", "'- x'"),
    ("-", "'-'"),
    ("? x", "'? x'"),
    ("*a", "'*a'"),
    ("&a", "'&a'"),
    ("!t", "'!t'"),
    ("%x", "'%x'"),
    ("@x", "'@x'"),
    ("`x`", "'`x`'"),
    ("[a]", "'[a]'"),
    ("{a}", "'{a}'"),
    ("|", "'|'"),
    (">", "'>'"),
    (", x", "', x'"),
    ("'a'", "'''a'''"),
    ("\"a\"", "'\"a\"'"),
    ("--- a", "'--- a'"),
    ("...", "'...'"),
    // What has to be escaped.
    ("a\tb", r#""a\tb""#),
    ("\n", r#""\n""#),
    ("a \nb", r#""a \nb""#),
    ("a\nb ", r#""a\nb ""#),
    ("a\r\nb", r#""a\r\nb""#),
    ("\0\x07\x1b\x7f", r#""\0\a\e\x7F""#),
    ("\u{feff}", r#""\uFEFF""#),
    ("a\u{85}b", r#""a\Nb""#),
    ("a\u{2028}\u{2029}b", r#""a\L\Pb""#),
    ("\u{ffff}", r#""\uFFFF""#),
    ("a\"\\\t", r#""a\"\\\t""#),
    ("😀", r#""\U0001F600""#),
    // Blocks.
    ("a\n", "|\n    a\n"),
    ("a\nb", "|-\n    a\n    b\n"),
    ("a\n\n", "|+\n    a\n\n"),
    ("a\n\n  b\n", "|\n    a\n\n      b\n"),
    (" a\nb\n", "|4\n     a\n    b\n"),
    ("\n a\n", "|4\n\n     a\n"),
    ("\ta\n", "|4\n    \ta\n"),
    ("#!/bin/sh\nkey: value\n", "|\n    #!/bin/sh\n    key: value\n"),
    ("---\na: 1\n...\n", "|\n    ---\n    a: 1\n    ...\n"),
];

#[test]
fn quotes_where_a_reader_would_misread_and_nowhere_else() {
    for (text, form) in FORMS {
        let tree = json!({ "v": text });
        let written = yaml::emit(&tree);
        assert_eq!(written, format!("v: {form}{}", if form.ends_with('\n') { "" } else { "\n" }), "{text:?}");
        assert_eq!(yaml::documents(&written).expect("YAML")[0].to_value(), tree, "{text:?}");
        assert_eq!(serde_saphyr::from_str::<Value>(&written).expect("YAML"), tree, "{text:?}");
    }
}

#[test]
fn a_very_long_text_stays_one_line() {
    let long = "word ".repeat(20_000) + "end";
    assert_eq!(yaml::emit(&json!({ "v": long })), format!("v: {long}\n"));
    let escaped = long.replace(' ', "\t");
    assert_eq!(yaml::emit(&json!({ "v": escaped })).lines().count(), 1);
    // Beyond 1,024 characters no reader has to take it for a key.
    let tree = json!({ long: { "a": ["b"], "c": [] } });
    let written = yaml::emit(&tree);
    assert!(written.starts_with("? word "));
    assert_eq!(yaml::documents(&written).expect("YAML")[0].to_value(), tree);
}

#[test]
fn looks_as_talos_writes_it() {
    let tree = json!({
        "machine": {
            "network": {"interfaces": [{"interface": "eth0", "addresses": ["10.0.0.1/24"], "routes": []}, {}]},
            "files": [{"content": "a\nb\n", "permissions": 420}, {"content": " a\n", "op": ""}],
            "nested": [["a", ["b"]], [{"x": {"z": null}}]],
            "rates": [1.0, 0.25, 1.5e21, 1e-7, -3, true],
            "blocks": ["a\n", " b\n"],
        },
    });
    let expected = "\
machine:
    network:
        interfaces:
            - interface: eth0
              addresses:
                - 10.0.0.1/24
              routes: []
            - {}
    files:
        - content: |
            a
            b
          permissions: 420
        - content: |2
             a
          op: \"\"
    nested:
        - - a
          - - b
        - - x:
                z: null
    rates:
        - 1.0
        - 0.25
        - 1.5e+21
        - 1e-07
        - -3
        - true
    blocks:
        - |
          a
        - |2
           b
";
    assert_eq!(yaml::emit(&tree), expected);
}
