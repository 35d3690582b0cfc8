use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// A process that is killed when dropped.
#[derive(Debug)]
pub(crate) struct KilledChild(Child);

impl KilledChild {
    /// Starts a program.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// Starts a program and reads its output.
    pub(crate) fn start_with_output(command: &mut Command) -> (Self, ChildStdout, ChildStderr) {
        let mut child = Self::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let output = child.0.stdout.take().expect("it has a pipe");
        let errors = child.0.stderr.take().expect("it has a pipe");
        (child, output, errors)
    }

    /// Whether it has exited.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Waits until it has exited.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.0.wait().expect("it is our child")
    }

    fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| {
            let program = command.get_program().to_string_lossy();
            panic!("{program} cannot be run ({error}): `make test` installs it")
        }))
    }
}

impl Drop for KilledChild {
    fn drop(&mut self) {
        // An error means that it has already exited.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Waits until this condition holds.
///
/// # Panics
///
/// If it does not hold within 30 s.
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
