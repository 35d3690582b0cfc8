use std::fs;

use crate::repository_root;

/// The reason codes of the README's table of responses, each with its status, in order.
pub fn documented_reasons() -> Vec<(u16, String)> {
    let readme = fs::read_to_string(repository_root().join("README.md")).expect("there it is");
    let (_, section) = readme.split_once("## What the client sees").expect("there it is");
    let rows = section.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    let mut documented = Vec::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let status = cells[1].split(' ').next().and_then(|status| status.parse().ok());
        let status: u16 = status.expect("a row begins with a status");
        let reasons = cells[2].split('`').skip(1).step_by(2);
        documented.extend(reasons.map(|reason| (status, reason.to_owned())));
    }
    documented
}
