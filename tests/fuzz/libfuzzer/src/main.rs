//! libFuzzer on one target: that which `FIREBREAK_FUZZ_TARGET` names. With `FIREBREAK_FUZZ_SAMPLES` it writes the samples
//! of all targets into that folder, each target's in one of its own, and ends.
#![no_main]

use firebreak_fuzz::{TARGETS, Target, target};
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;
use std::{env, fs, process};

static CHOSEN: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("FIREBREAK_FUZZ_TARGET").expect("FIREBREAK_FUZZ_TARGET names a target");
    target(&name).expect("a target has the name in FIREBREAK_FUZZ_TARGET")
});

fuzz_target!(
    init: {
        if let Some(folder) = env::var_os("FIREBREAK_FUZZ_SAMPLES") {
            write_samples(Path::new(&folder));
            process::exit(0);
        }
        LazyLock::force(&CHOSEN);
    },
    |bytes: &[u8]| {
        (CHOSEN.run)(bytes);
    }
);

fn write_samples(folder: &Path) {
    for target in TARGETS {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder).expect("a folder for samples");
        for (number, sample) in (target.samples)().iter().enumerate() {
            fs::write(folder.join(number.to_string()), sample).expect("a file for a sample");
        }
    }
}
