//! Functions and operators: which types each takes, and what it gives.
//!
//! A row is a name and its overloads, `parameters>result`, methods with a dot in front. Letters: `i`nt, `u`int,
//! `d`ouble, `s`tring, b`y`tes, `b`ool, `D`uration, `T`imestamp, `*` anything; `A` and `B` stand for any type, the same
//! throughout an overload; `l`ist, `m`ap, `o`ptional and `t`ype of what follows.

use super::Scope;
use super::check::Type;
use crate::machineconfig::minor::Minor;

/// cel-go 0.26 – 0.31: common/stdlib. Comparisons across kinds of numbers are off in Talos.
const STANDARD: [(&str, &str); 49] = [
    ("_==_", "AA>b"),
    ("_!=_", "AA>b"),
    ("_<_", "bb>b ii>b uu>b dd>b ss>b yy>b TT>b DD>b"),
    ("_<=_", "bb>b ii>b uu>b dd>b ss>b yy>b TT>b DD>b"),
    ("_>_", "bb>b ii>b uu>b dd>b ss>b yy>b TT>b DD>b"),
    ("_>=_", "bb>b ii>b uu>b dd>b ss>b yy>b TT>b DD>b"),
    ("_+_", "yy>y dd>d DD>D DT>T TD>T ii>i lAlA>lA ss>s uu>u"),
    ("_-_", "dd>d DD>D ii>i TD>T TT>D uu>u"),
    ("_*_", "dd>d ii>i uu>u"),
    ("_/_", "dd>d ii>i uu>u"),
    ("_%_", "ii>i uu>u"),
    ("-_", "d>d i>i"),
    ("!_", "b>b"),
    ("_?_:_", "bAA>A"),
    ("@in", "AlA>b AmAB>b"),
    ("_[_]", "lAi>A mABA>B"),
    ("size", "s>i y>i lA>i mAB>i .s>i .y>i .lA>i .mAB>i"),
    ("matches", "ss>b .ss>b"),
    ("contains", ".ss>b"),
    ("startsWith", ".ss>b"),
    ("endsWith", ".ss>b"),
    ("int", "i>i d>i D>i s>i T>i u>i"),
    ("uint", "u>u d>u i>u s>u"),
    ("double", "d>d i>d s>d u>d"),
    ("bool", "b>b s>b"),
    ("bytes", "y>y s>y"),
    ("string", "s>s b>s y>s d>s D>s i>s T>s u>s"),
    ("timestamp", "T>T i>T s>T"),
    ("type", "A>tA"),
    ("dyn", "A>*"),
    ("getFullYear", ".T>i .Ts>i"),
    ("getMonth", ".T>i .Ts>i"),
    ("getDayOfYear", ".T>i .Ts>i"),
    ("getDayOfMonth", ".T>i .Ts>i"),
    ("getDate", ".T>i .Ts>i"),
    ("getDayOfWeek", ".T>i .Ts>i"),
    ("getHours", ".T>i .Ts>i .D>i"),
    ("getMinutes", ".T>i .Ts>i .D>i"),
    ("getSeconds", ".T>i .Ts>i .D>i"),
    ("getMilliseconds", ".T>i .Ts>i .D>i"),
    // Where values may be absent.
    ("orValue", "?.oAA>A"),
    ("or", "?.oAoA>oA"),
    ("value", "?.oA>A"),
    ("hasValue", "?.oA>b"),
    ("optional.of", "?A>oA"),
    // Talos's own.
    ("glob", "ss>b"),
    ("mac", "y>s"),
    ("multiply_qos_vectors", "m*dm*d>d"),
    ("duration", "D>D s>D"),
];

/// The overloads of a function; `None` for one that nobody knows here.
fn row(name: &str, scope: Scope, minor: &Minor) -> Option<&'static str> {
    if matches!(name, "glob" | "mac" | "multiply_qos_vectors") && !scope.has_function(name) {
        return None;
    }
    if name == "duration" && minor.cel_duration_of_integer {
        return Some("D>D i>D s>D");
    }
    let (_, overloads) = STANDARD.iter().find(|(known, _)| *known == name)?;
    match overloads.strip_prefix('?') {
        Some(_) if !scope.has_optionals() => None,
        bare => Some(bare.unwrap_or(overloads)),
    }
}

/// Whether there is such a function at all.
pub(super) fn is_known(name: &str, scope: Scope, minor: &Minor) -> bool {
    row(name, scope, minor).is_some()
}

/// What a call gives; `None` where no overload takes these types. Where several do and differ, anything may come out.
pub(super) fn output(name: &str, method: bool, types: &[Type], scope: Scope, minor: &Minor) -> Option<Type> {
    let overloads = row(name, scope, minor)?.split(' ');
    let results = overloads.filter_map(|overload| {
        let (wants_method, overload) = overload.strip_prefix('.').map_or((false, overload), |rest| (true, rest));
        let (parameters, result) = overload.split_once('>')?;
        let mut letters = parameters.chars();
        let mut bound = [None, None];
        let fits = wants_method == method
            && types.iter().all(|kind| {
                let parameter = pattern(&mut letters);
                parameter.is_some_and(|parameter| fit(kind, &parameter, &mut bound))
            });
        (fits && letters.next().is_none()).then(|| filled(&pattern(&mut result.chars())?, &bound))?
    });
    results.reduce(|one, other| if one == other { one } else { Type::Dyn })
}

/// A type with holes.
enum Pattern {
    Hole(usize),
    Plain(Type),
    Of(&'static str, Vec<Pattern>),
}

fn pattern(letters: &mut std::str::Chars<'_>) -> Option<Pattern> {
    let basic = |name| Some(Pattern::Plain(Type::Basic(name)));
    match letters.next()? {
        'A' => Some(Pattern::Hole(0)),
        'B' => Some(Pattern::Hole(1)),
        'i' => basic("int"),
        'u' => basic("uint"),
        'd' => basic("double"),
        's' => basic("string"),
        'y' => basic("bytes"),
        'b' => basic("bool"),
        'D' => basic("google.protobuf.Duration"),
        'T' => basic("google.protobuf.Timestamp"),
        'l' => Some(Pattern::Of("list", vec![pattern(letters)?])),
        'm' => Some(Pattern::Of("map", vec![pattern(letters)?, pattern(letters)?])),
        'o' => Some(Pattern::Of("optional_type", vec![pattern(letters)?])),
        't' => Some(Pattern::Of("type", vec![pattern(letters)?])),
        _ => Some(Pattern::Plain(Type::Dyn)),
    }
}

fn fit(kind: &Type, pattern: &Pattern, bound: &mut [Option<Type>; 2]) -> bool {
    match (pattern, kind) {
        (Pattern::Hole(hole), _) => match &bound[*hole] {
            None => {
                bound[*hole] = Some(kind.clone());
                true
            }
            Some(other) if kind.fits(other) => {
                // The more general of the two stays.
                if *kind == Type::Dyn {
                    bound[*hole] = Some(Type::Dyn);
                }
                true
            }
            Some(_) => false,
        },
        (Pattern::Plain(wanted), kind) => kind.fits(wanted),
        (Pattern::Of(..), Type::Dyn | Type::Error) => true,
        (Pattern::Of(name, inner), Type::Of(kind, of)) => {
            name == kind && inner.len() == of.len() && of.iter().zip(inner).all(|(kind, inner)| fit(kind, inner, bound))
        }
        (Pattern::Of(..), Type::Basic(_)) => false,
    }
}

fn filled(pattern: &Pattern, bound: &[Option<Type>; 2]) -> Option<Type> {
    match pattern {
        Pattern::Hole(hole) => Some(bound[*hole].clone().unwrap_or(Type::Dyn)),
        Pattern::Plain(kind) => Some(kind.clone()),
        Pattern::Of(name, inner) => {
            let inner = inner.iter().map(|inner| filled(inner, bound)).collect::<Option<Vec<_>>>()?;
            Some(Type::Of(name, inner))
        }
    }
}
