//! Noisy results, as an adapter measured and stored them.

use firebreak_privacy::Released;

pub fn release(bytes: &[u8]) -> bool {
    let Ok(released) = Released::decode(bytes) else { return false };
    assert_eq!(released.encode(), bytes, "a release has two encodings");
    assert!(released.sigmas().all(|sigma| sigma.is_finite() && sigma > 0.0));
    assert!(released.cells().all(|cells| cells >= 1 || released.selected_groups().is_some()));
    true
}

/// Two vectors of three cells, once over declared groups and once over groups that were selected.
pub fn releases() -> Vec<Vec<u8>> {
    let head = |magic: &[u8], mechanism: u8| {
        let loss = [5_000_000_u64, 1, 0].map(u64::to_be_bytes).concat();
        [magic, &1_u32.to_be_bytes(), &[mechanism], &[1; 32], &[2; 32], &loss].concat()
    };
    let vector = |sigma: f64, values: [i64; 3]| {
        [sigma.to_be_bytes().as_slice(), &3_u32.to_be_bytes(), &values.map(i64::to_be_bytes).concat()].concat()
    };
    let vectors = [2_u32.to_be_bytes().to_vec(), vector(12.5, [100, -3, 7]), vector(0.75, [1, 2, 3])].concat();
    let codes = ["A", "A10", "J45"].map(|code| firebreak_domain::OpenCode::parse(code, 10).unwrap().number());
    let selected = [
        40_i64.to_be_bytes().to_vec(),
        3_i64.to_be_bytes().to_vec(),
        2.5_f64.to_be_bytes().to_vec(),
        3_u32.to_be_bytes().to_vec(),
        codes.map(i64::to_be_bytes).concat(),
    ];
    vec![
        [head(b"FBRL", 1), vectors.clone()].concat(),
        [head(b"FBRL", 2), vectors.clone()].concat(),
        [head(b"FBRG", 1), selected.concat(), vectors].concat(),
    ]
}
