//! Counts the entries of a keeper's log by the word that each begins with.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

/// Lines such as `14:05 fog: horn on`; others belong to the entry above them.
fn subject(line: &str) -> Option<&str> {
    let (time, rest) = line.split_once(' ')?;
    let (hours, minutes) = time.split_once(':')?;
    let is_time = hours.parse::<u8>().is_ok_and(|h| h < 24)
        && minutes.parse::<u8>().is_ok_and(|m| m < 60);
    is_time.then(|| rest.split(':').next().unwrap_or(rest).trim())
}

fn count<I: Iterator<Item = io::Result<String>>>(lines: I) -> io::Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for line in lines {
        if let Some(word) = subject(&line?) {
            *counts.entry(word.to_owned()).or_insert(0) += 1;
        }
    }
    Ok(counts)
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (word, number) in count(io::stdin().lock().lines())? {
        writeln!(out, "{number:6} {word}")?;
    }
    Ok(())
}
