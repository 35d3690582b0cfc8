use std::any::Any;

/// Runs a test with one worker and with four, side by side.
///
/// # Panics
///
/// If either of the two panics; the message names the number of workers.
pub async fn with_one_worker_and_with_four<F>(test: impl Fn(usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runs = [1, 4].map(|workers| (workers, tokio::spawn(test(workers))));
    let mut faults = Vec::new();
    for (workers, run) in runs {
        if let Err(error) = run.await {
            faults.push(format!("with {workers} workers: {}", message(&*error.into_panic())));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref().copied()).unwrap_or("a panic without text")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Barrier;

    use super::*;

    #[tokio::test]
    async fn both_run_at_the_same_time() {
        let both = Arc::new(Barrier::new(2));
        with_one_worker_and_with_four(|_| {
            let both = both.clone();
            async move {
                both.wait().await;
            }
        })
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "with 4 workers: too many")]
    async fn a_failure_names_the_number_of_workers() {
        with_one_worker_and_with_four(|workers| async move {
            assert!(workers < 4, "too many");
        })
        .await;
    }
}
