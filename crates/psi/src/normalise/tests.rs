//! What holds for all rules.

use super::*;

fn of_version_1(text: &str) -> NormalisedInput {
    Normaliser::V1.normalise(text).unwrap()
}

fn of_version_2(family: &str) -> NormalisedInput {
    Normaliser::V2.normalise_parts(&[Some(family), Some("Тарас"), Some("1987-03-09")]).unwrap()
}

#[test]
fn a_rule_has_a_number_and_others_are_unknown() {
    for rule in [Normaliser::V1, Normaliser::V2] {
        assert_eq!(Normaliser::from_number(rule.number()), Some(rule));
    }
    assert_eq!(Normaliser::from_number(0), None);
    assert_eq!(Normaliser::from_number(3), None);
}

#[test]
fn a_rule_takes_as_many_parts_as_it_names() {
    for (rule, first) in [(Normaliser::V1, "AB123456"), (Normaliser::V2, "Шевченко")] {
        let parts = [Some(first), Some("Тарас"), Some("1987-03-09"), Some("AB123456")];
        for count in 0..=parts.len() {
            let taken = rule.normalise_parts(&parts[..count]).is_some();
            assert_eq!(taken, count == rule.parts().len(), "{rule:?} {count}");
        }
    }
    assert!(Normaliser::V2.normalise("Шевченко").is_none());
    assert!(Normaliser::V1.normalise_parts(&[None]).is_none());
}

#[test]
fn a_number_is_its_bytes_and_everything_else_33_bytes() {
    assert_eq!(of_version_1("ab 123 456 c").as_bytes(), b"AB123456C");
    let item = of_version_2("Шевченко");
    assert_eq!((item.as_bytes().len(), item.as_bytes()[0]), (33, 0x01));
}

#[test]
fn no_item_of_one_rule_is_an_item_of_another() {
    let numbers = ["AB123456", "123456", "12345678901234567890"].map(of_version_1);
    let long = "Ан".repeat(60);
    let persons = ["AB", "Шевченко", long.as_str()].map(of_version_2);
    for number in &numbers {
        assert!(number.as_bytes()[0] != DIGEST && number.longest() == 20);
        assert!(persons.iter().all(|person| person != number));
    }
    for person in &persons {
        assert_eq!(person.longest(), 33);
    }
    // Parts alike under another rule's number give another item.
    let parts: [&[u8]; 2] = [b"123456", b"ABCDEF"];
    let [one, two] = [Normaliser::V1, Normaliser::V2].map(|rule| NormalisedInput::of_parts(rule, &parts).unwrap());
    assert!(one != two);
}

#[test]
fn bytes_are_taken_back_in_the_form_of_a_rule_alone() {
    for item in [of_version_1("AB123456"), of_version_1("12345678901234567890"), of_version_2("Шевченко")] {
        assert!(NormalisedInput::from_normal_form(item.as_bytes()) == Some(item.clone()));
    }
    let digest = of_version_2("Шевченко");
    let longer = [digest.as_bytes(), &[0]].concat();
    let padding = [[0x81].as_slice(), &digest.as_bytes()[1..]].concat();
    for bytes in [
        &[][..],
        b"ab123456",
        b"12345",
        b"ABCDEF",
        b"123456789012345678901",
        &digest.as_bytes()[..32],
        &longer,
        &padding,
        &digest.as_bytes()[1..],
        &[DIGEST; 20],
        &[0x02; 33],
    ] {
        assert!(NormalisedInput::from_normal_form(bytes).is_none(), "{bytes:?}");
    }
}

#[test]
fn padding_is_as_long_as_the_longest_item_of_the_rule_beside_it() {
    let numbers = vec![of_version_1("AB123456")];
    let persons = vec![of_version_2("Шевченко")];
    assert_eq!(NormalisedInput::longest_beside(&numbers), 20);
    assert_eq!(NormalisedInput::longest_beside(&persons), 33);
    assert_eq!(NormalisedInput::longest_beside(&[]), 20);
    assert!(NormalisedInput::is_longest(20) && NormalisedInput::is_longest(33));
    assert!(!(0..64).any(|length| NormalisedInput::is_longest(length) && length != 20 && length != 33));
}
