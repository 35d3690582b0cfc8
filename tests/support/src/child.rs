use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// A process that is killed when dropped.
#[derive(Debug)]
pub(crate) struct KilledChild(Child);

impl KilledChild {
    /// Starts a program.
    pub(crate) fn start(command: &mut Command) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = quiet.spawn();
        Self(child.unwrap_or_else(|error| {
            panic!("{program} cannot be run ({error}): `make test` installs it")
        }))
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for KilledChild {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Returns as soon as this holds.
///
/// # Panics
///
/// When it does not within 30 s.
pub(crate) async fn await_that<F>(what: &str, mut holds: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    const DEADLINE: Duration = Duration::from_secs(30);
    const POLL: Duration = Duration::from_millis(10);
    let asked = Instant::now();
    while !holds().await {
        assert!(asked.elapsed() < DEADLINE, "{what}: not after {DEADLINE:?}");
        sleep(POLL).await;
    }
}
