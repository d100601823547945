use super::*;
use std::fs;
use std::path::Path;

const ENDPOINTS: &str = r#"
format = 1
organisation = [
    { id = "health", title = "Health service", class = "service" },
    { id = "school", title = "Schools", class = "service", passes_to = ["it-firm"] },
    { id = "it-firm", title = "A contractor", class = "service", passes_to = ["border"] },
    { id = "border", title = "Border police", class = "enforcement" },
]
endpoint = [{ id = "school-portal", organisation = "school", class = "service" }]
"#;

/// Runs a command line and gives its end and both outputs.
fn run_line(line: &[&str]) -> (Result<(), Failure>, String, String) {
    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }
    let parsed = <Line as clap::Parser>::try_parse_from(std::iter::once(&"bundle").chain(line)).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal =
        Terminal { out: &mut out, err: &mut err, width: 90, out_is_terminal: false, err_is_terminal: false };
    let end = run(parsed.command, &mut terminal);
    (end, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with a bundle of facts alone, and three overseers' keys beside it.
fn bundle(folder: &Path) -> Vec<std::path::PathBuf> {
    let inside = folder.join("bundle");
    fs::create_dir(&inside).unwrap();
    let mut overseers = "format = 1\nthreshold = 2\n".to_owned();
    let mut keys = Vec::new();
    for name in ["amina", "bela", "chidi"] {
        let file = folder.join(name);
        let (end, verifier, _) = run_line(&["key", name, "--out", text(&file)]);
        end.unwrap();
        let reading = folder.join(format!("{name}.opening-key"));
        let (end, seal_key, _) = run_line(&["opening-key", "--out", text(&reading)]);
        end.unwrap();
        overseers += &format!("[[overseer]]\nid = \"{name}\"\ntitle = \"T\"\nkey = \"{}\"\n", verifier.trim());
        overseers += &format!("seal_key = \"{}\"\n", seal_key.trim());
        keys.push(file);
    }
    fs::write(inside.join("overseers.toml"), &overseers).unwrap();
    fs::write(folder.join("root.toml"), &overseers).unwrap();
    fs::write(inside.join("endpoints.toml"), ENDPOINTS).unwrap();
    keys
}

#[test]
fn a_bundle_made_listed_and_signed_by_two_holds() {
    let folder = tempfile::tempdir().unwrap();
    let keys = bundle(folder.path());
    let (inside, root) = (folder.path().join("bundle"), folder.path().join("root.toml"));
    let show = ["show", text(&inside), "--trust-root", text(&root)];

    let (end, out, _) = run_line(&show);
    end.unwrap();
    assert!(out.contains("No manifest yet"), "{out}");

    let times = ["--valid-from", "2020-01-01", "--valid-until", "2100-01-01T00:00:00Z"];
    let (end, out, _) = run_line(&[&["manifest", text(&inside), "--sequence", "1"], &times[..]].concat());
    end.unwrap();
    assert!(out.contains("valid-from 2020-01-01T00:00:00Z\nvalid-until 2100-01-01T00:00:00Z"), "{out}");

    run_line(&["sign", text(&inside), "--key", text(&keys[0])]).0.unwrap();
    assert!(matches!(run_line(&show).0, Err(Failure::Bundle(_))), "one signature is not two");
    run_line(&["sign", text(&inside), "--key", text(&keys[1])]).0.unwrap();
    let (end, out, _) = run_line(&show);
    end.unwrap();
    assert!(out.contains("Signed by a quorum"), "{out}");
    assert!(run_line(&["show", text(&inside)]).1.contains("Signatures were not checked"));

    fs::write(inside.join("endpoints.toml"), ENDPOINTS.replace("Schools", "School")).unwrap();
    assert!(matches!(run_line(&show).0, Err(Failure::Bundle(_))), "edited after signing");
}

#[test]
fn a_party_is_shown_as_what_it_counts_as_and_by_what_way() {
    let folder = tempfile::tempdir().unwrap();
    bundle(folder.path());
    let (_, out, _) = run_line(&["show", text(&folder.path().join("bundle"))]);
    let words: Vec<Vec<&str>> = out.lines().map(|l| l.split_whitespace().collect()).collect();
    let row = |first: &str| words.iter().find(|w| w.first() == Some(&first)).unwrap().join(" ");
    assert!(row("health").ends_with("service service"), "{out}");
    assert!(row("school").contains("service enforcement: school → it-firm →"), "{out}");
    assert!(row("school-portal").contains("enforcement"), "{out}");
}

#[test]
fn what_a_successor_would_loosen_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let keys = bundle(folder.path());
    let (first, second, root) =
        (folder.path().join("bundle"), folder.path().join("next"), folder.path().join("root.toml"));
    let times = ["--valid-from", "2020-01-01", "--valid-until", "2100-01-01"];
    run_line(&[&["manifest", text(&first), "--sequence", "1"], &times[..]].concat()).0.unwrap();
    for key in &keys {
        run_line(&["sign", text(&first), "--key", text(key)]).0.unwrap();
    }
    fs::create_dir(&second).unwrap();
    fs::copy(first.join("overseers.toml"), second.join("overseers.toml")).unwrap();
    fs::write(second.join("endpoints.toml"), ENDPOINTS.replace(", passes_to = [\"border\"]", "")).unwrap();
    let follow = ["manifest", text(&second), "--sequence", "2", "--previous", text(&first)];
    assert!(matches!(run_line(&[&follow[..4], &times[..]].concat()).0, Err(Failure::Usage(_))));
    run_line(&[&follow[..], &times[..]].concat()).0.unwrap();

    let show = ["show", text(&second), "--trust-root", text(&root), "--previous", text(&first)];
    let (end, out, _) = run_line(&show);
    assert!(out.contains("It loosens, which takes all overseers"), "{out}");
    assert!(matches!(end, Err(Failure::Bundle(_))), "not signed by all");
}
