use super::*;

fn widest(text: &str) -> usize {
    text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0)
}

#[test]
fn columns_line_up_by_what_a_terminal_shows() {
    let mut table = Table::new().text("région").number("n").text("mark");
    table.row(["Île-de-France", "1\u{202f}234", ""]);
    table.row(["東京都", "7", "U"]);
    table.row(["e\u{301}tat", "12", "O"]);
    let shown = table.render(80);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines,
        [
            "région             n  mark",
            "─────────────  ─────  ────",
            "Île-de-France  1\u{202f}234",
            "東京都             7  U",
            "e\u{301}tat              12  O",
        ]
    );
    let ends = |line: &str, mark: &str| line.split_once(mark).map(|(before, _)| before.width());
    assert_eq!(ends(lines[3], "7"), ends(lines[4], "2"));
}

#[test]
fn text_gives_way_and_numbers_never_do() {
    let mut table = Table::new().text("name").text("definition").number("value");
    table.row(["cost", "what the visit cost the insurer, in whole euros, before any deduction", "123456789"]);
    for width in 40..100 {
        let shown = table.render(width);
        assert!(widest(&shown) <= width, "{width}:\n{shown}");
        assert!(shown.contains("123456789"));
        let words = shown.split_whitespace().filter(|w| "insurer, deduction".contains(w)).count();
        assert!(words >= 2, "{shown}");
    }
}

#[test]
fn a_table_that_cannot_be_narrow_enough_becomes_lists_of_fields() {
    let mut table = Table::new().text("region");
    for output in ["first", "second", "third", "fourth"] {
        table = table.number(output);
    }
    table.row(["north", "11111111111", "22222222222", "33333333333", "44444444444"]);
    table.row(["south", "5", "6", "7", "8"]);
    let shown = table.render(40);
    assert!(widest(&shown) <= 40, "{shown}");
    let expected = "  region  north\n  first   11111111111\n  second  22222222222\n  third   33333333333\n  \
                    fourth  44444444444\n\n  region  south\n";
    assert!(shown.starts_with(expected), "{shown}");
}

#[test]
fn in_a_list_of_fields_a_mark_stands_behind_what_it_marks() {
    let mut table = Table::new().text("region").number("first").text("").number("second").text("");
    table.row(["north", "11111111111111111", "U", "–", "O"]);
    table.row(["south", "5", "", "22222222222222222", ""]);
    let expected = "  region  north\n  first   11111111111111111  U\n  second  –  O\n\n  region  south\n  \
                    first   5\n  second  22222222222222222\n";
    assert_eq!(table.render(36), expected);
}

#[test]
fn long_words_are_broken_and_nothing_is_lost() {
    let text = "spiffe://firebreak.example/org/national-statistics/analyst/ada and 東京東京東京";
    for width in 2..60 {
        let lines = wrap(text, width);
        assert!(lines.iter().all(|line| line.width() <= width && !line.is_empty()), "{width}: {lines:?}");
        let (joined, spaced) = (lines.concat().replace(' ', ""), text.replace(' ', ""));
        assert_eq!(joined, spaced);
    }
    assert_eq!(wrap("one two six", 6), ["one", "two", "six"]);
    assert_eq!(wrap("one two six", 7), ["one two", "six"]);
}

#[test]
fn a_cell_cannot_steer_the_terminal() {
    let mut table = Table::new().text("title");
    table.row(["\u{1b}[2Jgone\nfake row"]);
    let shown = table.render(40);
    assert_eq!(shown.lines().count(), 3, "{shown}");
    assert!(!shown.contains('\u{1b}'));
}

#[test]
fn fields_leave_out_what_is_empty_and_wrap_beside_their_name() {
    let shown = fields(&[("Rule", "one two three four five six seven eight"), ("Here", ""), ("Contest", "a\nb")], 40);
    let expected = "  Rule     one two three four five six\n           seven eight\n  Contest  a\n           b\n";
    assert_eq!(shown, expected);
}

#[test]
fn rows_of_another_length_are_made_to_fit() {
    let mut table = Table::new().text("a").text("b");
    table.row(["1"]);
    table.row(["1", "2", "3"]);
    assert_eq!(table.render(40), "a  b\n─  ─\n1\n1  2\n");
    assert_eq!((table.len(), table.is_empty()), (2, false));
}

#[test]
fn a_drawing_keeps_its_spaces_and_its_width() {
    let mut table = Table::new().text("region").drawing("0   9").text("mark");
    table.row(["north", "  ├─┤", "U"]);
    table.row(["south", "─    ", ""]);
    assert_eq!(table.full_width(), 6 + GAP + 5 + GAP + 4);
    assert_eq!(
        table.render(table.full_width()),
        "region  0   9  mark\n──────  ─────  ────\nnorth     ├─┤  U\nsouth   ─\n"
    );
}
