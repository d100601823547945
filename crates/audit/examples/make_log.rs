//! Writes a small log and receipts into a folder, for verifiers that are not ours:
//! `cargo run -p firebreak-audit --example make_log -- FOLDER [LEAVES]` makes `FOLDER/log`,
//! `FOLDER/receipts/*.receipt` and `FOLDER/log.pub`.

#[expect(clippy::expect_used, reason = "a sample that cannot be made is a mistake in this file")]
#[path = "../tests/sample/mod.rs"]
mod sample;

use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("the folder to write to is missing")?);
    let leaves: u64 = arguments.next().map_or(Ok(300), |text| text.parse())?;
    fs::create_dir_all(folder.join("receipts"))?;
    let mut sizes = vec![1, leaves / 2, leaves];
    sizes.dedup();
    let (verifier, receipts) = sample::make_log(&folder.join("log"), &sizes, sample::leaves);
    fs::write(folder.join("log.pub"), format!("{verifier}\n"))?;
    for receipt in receipts {
        fs::write(folder.join(format!("receipts/{}.receipt", receipt.index)), receipt.encode())?;
    }
    Ok(())
}
