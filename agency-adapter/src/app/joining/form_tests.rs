use super::*;

fn person(rows: &[(u8, u16, &str)]) -> Person {
    let ranking = RankingKey::new([5; 32]);
    let mut key = Vec::new();
    put_key(&mut key, "p");
    let mut person = Person { key: Zeroizing::new(key), ..Person::default() };
    for (value, label, identifier) in rows {
        let mut held = Vec::new();
        put_item(&mut held, identifier.as_bytes());
        person.add(&[*value; VALUE], *label, &held, &ranking);
    }
    person
}

fn identifier(person: &Person) -> String {
    item(&person.item).map(|slot| String::from_utf8(slot.as_ref().to_vec()).unwrap()).unwrap_or_default()
}

#[test]
fn of_a_person_the_first_row_by_rank_among_those_with_a_label_counts() {
    let rows = [(1, 1, "A1"), (2, 2, "A2"), (3, 3, "A3")];
    let best = person(&rows).best.unwrap();
    let chosen = usize::from(best.1) - 1;
    assert_eq!(identifier(&person(&rows)), format!("A{}", best.1));
    let mut without = rows;
    without[chosen].1 = NONE;
    let next = person(&without).best.unwrap();
    assert!(next.0 > best.0 && next.1 != best.1, "a row without a label does not count");
    assert!(person(&[(1, NONE, "A1")]).best.is_none());
}

#[test]
fn a_row_without_an_identifier_has_that_of_another_of_its_person() {
    let rows = [(1, 1, "A1"), (2, 2, "A2")];
    let chosen = usize::from(person(&rows).best.unwrap().1) - 1;
    let mut missing = rows;
    missing[chosen].2 = "";
    assert_eq!(person(&missing).best, person(&rows).best, "an identifier decides nothing of the label");
    assert_eq!(identifier(&person(&missing)), rows[1 - chosen].2);
    assert!(person(&[(1, 1, "")]).item.is_empty());
}
