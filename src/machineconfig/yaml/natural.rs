//! The order in which Go's YAML writes the keys of a map: numbers inside of them count as numbers, so that `node-9`
//! stands before `node-10` (gopkg.in/yaml.v3 and go.yaml.in/yaml/v4: sorter.go).

use std::cmp::Ordering;

pub(in crate::machineconfig) fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut digits = false;
    for at in 0..a.len().min(b.len()) {
        let (one, other) = (a[at], b[at]);
        if one == other {
            digits = is_digit(one);
            continue;
        }
        return match (one.is_alphabetic(), other.is_alphabetic()) {
            (true, true) => one.cmp(&other),
            // After a digit a word comes first: it ends the number.
            (true, false) => {
                if digits {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (false, true) => {
                if digits {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (false, false) => numbers(&a, &b, at),
        };
    }
    a.len().cmp(&b.len())
}

/// Neither differing character is a letter: whole numbers first, then how long they are written, then the characters.
fn numbers(a: &[char], b: &[char], at: usize) -> Ordering {
    // Zeros inside a number count; in front of one they do not.
    let inside = (a[at] == '0' || b[at] == '0')
        && a[..at].iter().rev().take_while(|char| is_digit(**char)).any(|char| *char != '0');
    let number = |text: &[char]| {
        let digits = text[at..].iter().take_while(|char| is_digit(**char));
        let start = (u64::from(inside), 0_usize);
        digits.fold(start, |(number, length), digit| {
            let value = u64::from(u32::from(*digit).wrapping_sub(u32::from('0')));
            (number.wrapping_mul(10).wrapping_add(value), length + 1)
        })
    };
    number(a).cmp(&number(b)).then(a[at].cmp(&b[at]))
}

fn is_digit(char: char) -> bool {
    char.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_as_people_sort_them() {
        let sorted = [
            "", "1", "2", "10", "10a", "A", "a", "a-1", "a-2", "a-10", "a1", "a01", "a2", "a10", "a10b", "ab", "b.c/1",
            "b.c/x", "node-9", "node-10",
        ];
        let mut keys = sorted.to_vec();
        keys.reverse();
        keys.sort_by(|a, b| natural(a, b));
        assert_eq!(keys, sorted);
    }
}
