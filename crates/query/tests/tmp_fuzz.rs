
use firebreak_query::parse_sql;
use std::time::{Duration, Instant};
fn run(n: usize) {
    let limit = Duration::from_millis(if n > 100 { 1500 } else { 300 });
    let from: usize = std::env::var("FROM").ok().and_then(|v| v.parse().ok()).unwrap_or(0);
    for (i, k) in sqlparser::keywords::ALL_KEYWORDS.iter().enumerate().skip(from) {
        for sep in [" ", " (", " < ", ", ", " = ", " NOT ", " a ", ".", " 'x' ", " 1 "] {
            let m = if sep == " (" { n.min(11) } else { n };
            let body = format!("{k}{sep}").repeat(m);
            if body.len() > 16000 { continue; }
            for (p, s) in [("SELECT ", "1 FROM a"), ("SELECT COUNT(*) FROM a WHERE ", "x = 1"), ("SELECT COUNT(*) FROM ", "a"), ("SELECT COUNT(*) FROM a ", "a"), ("SELECT CAST(1 AS ", "INT) FROM a")] {
                let sql = format!("{p}{body}{s}");
                if n > 100 { std::fs::write("/tmp/fuzz.last", format!("{i} {}", &sql[..sql.len().min(80)])).unwrap(); }
                let t = Instant::now();
                let _ = parse_sql(&sql);
                if t.elapsed() > limit { println!("SLOW {:?} {}", t.elapsed(), &sql[..sql.len().min(80)]); }
            }
        }
    }
    println!("done {n}");
}
#[test]
fn small() { std::thread::Builder::new().stack_size(1 << 20).spawn(|| run(std::env::var("N").unwrap().parse().unwrap())).unwrap().join().unwrap(); }
