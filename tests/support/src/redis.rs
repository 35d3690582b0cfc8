use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::child::{KilledChild, await_that};

/// A running Redis, killed when dropped. It listens on a socket in a directory of its own, and keeps
/// what it holds in memory alone.
#[derive(Debug)]
pub struct Redis {
    process: Option<KilledChild>,
    directory: TempDir,
}

impl Redis {
    /// Starts Redis and returns once it answers.
    pub async fn start() -> Self {
        let directory = TempDir::with_prefix("mcp-federated-auth-redis-")
            .expect("the temporary directory is writable");
        let mut redis = Self { process: None, directory };
        redis.start_again().await;
        redis
    }

    /// Kills it: what it held is lost.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it after a [`stop`](Self::stop), and returns once it answers.
    pub async fn start_again(&mut self) {
        self.process = Some(KilledChild::start(
            Command::new("redis-server")
                .current_dir(self.directory.path())
                .args(["--port", "0", "--save", "", "--appendonly", "no"])
                .arg("--unixsocket")
                .arg(self.socket()),
        ));
        await_that("Redis answers", || async { self.command(&["PING"]) == ["PONG"] }).await;
    }

    /// The socket on which it listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// The lines that it answers to a command.
    pub fn command(&self, words: &[&str]) -> Vec<String> {
        let cli = Command::new("redis-cli").arg("-s").arg(self.socket()).args(words).output();
        let output = cli.expect("redis-cli comes with Redis").stdout;
        String::from_utf8_lossy(&output).lines().map(str::to_owned).collect()
    }

    /// The names of all keys.
    pub fn keys(&self) -> Vec<String> {
        let keys = self.command(&["KEYS", "*"]);
        keys.into_iter().filter(|key| !key.is_empty()).collect()
    }

    /// For how many milliseconds a key will still be there.
    ///
    /// # Panics
    ///
    /// When there is no such key, or no end to it.
    pub fn milliseconds_left(&self, key: &str) -> u64 {
        let answer = self.command(&["PTTL", key]);
        answer[0].parse().unwrap_or_else(|_| panic!("{key}: {answer:?}"))
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.command(&["CLIENT", "LIST"]).iter().filter(|line| !line.is_empty()).count()
    }
}
