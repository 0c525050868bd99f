//! What a flush costs in a file that grows by zeros, and in one that grows by space set aside, by
//! the size of the batch; beside a file that was full of zeros before.
//!
//! `cargo bench --bench growth -- [DIR]`; the directory's disk is what is measured.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{FallocateFlags, fallocate};

const ROUNDS: usize = 5;
/// How far a file grows in one step, as segments do.
const STEP: u64 = 1 << 20;
/// Written of each size, but no more than so many batches.
const BYTES: usize = 60 << 20;
const BATCHES: usize = 3000;

#[derive(Clone, Copy)]
enum Growth {
    None,
    Zeros,
    SetAside,
}

fn main() {
    let given = std::env::args().skip(1).find(|arg| arg != "--bench").map(PathBuf::from);
    let path = given.unwrap_or_else(std::env::temp_dir);
    let path = path.join(format!("stemedb-growth-{}", std::process::id()));
    println!("microseconds per flush: full of zeros before, zeros ahead, space set aside");
    for bytes in [344, 22_016, 65_536, 131_072, 262_144, 441_696, 1_048_000] {
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let ways = [Growth::None, Growth::Zeros, Growth::SetAside];
            times.iter_mut().zip(ways).for_each(|(times, way)| times.push(run(&path, bytes, way)));
        }
        let [before, zeros, set_aside] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[ROUNDS / 2]
        });
        println!("{bytes:9} bytes: {before:6.1} {zeros:6.1} {set_aside:6.1}");
    }
    fs::remove_file(&path).expect("our own file");
}

fn run(path: &Path, bytes: usize, growth: Growth) -> f64 {
    let file = File::create(path).expect("a writable directory");
    let count = (BYTES / bytes).min(BATCHES);
    let mut end = 0;
    let zeros = |from: u64, to: u64| {
        let zeros = vec![0; usize::try_from(to - from).expect("a step")];
        file.write_all_at(&zeros, from).expect("the disk has space");
    };
    if matches!(growth, Growth::None) {
        end = (count * bytes) as u64;
        (0..end).step_by(STEP as usize).for_each(|at| zeros(at, end.min(at + STEP)));
        file.sync_all().expect("a good disk");
    }
    let batch = vec![7; bytes];
    let start = Instant::now();
    for number in 0..count {
        let at = (number * bytes) as u64;
        file.write_all_at(&batch, at).expect("the disk has space");
        let written = at + bytes as u64;
        if written > end {
            end = written.next_multiple_of(STEP);
            match growth {
                Growth::None => unreachable!("as long as it gets"),
                Growth::Zeros => zeros(written, end),
                Growth::SetAside if end > written => {
                    let flags = FallocateFlags::empty();
                    fallocate(&file, flags, written, end - written)
                        .expect("a file system that can");
                }
                Growth::SetAside => {}
            }
        }
        file.sync_data().expect("a good disk");
    }
    start.elapsed().as_secs_f64() * 1e6 / count as f64
}
