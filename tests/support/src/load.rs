use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::kept_connection::KeptConnection;

/// How long late requests may still be sent after the end.
const GRACE: Duration = Duration::from_secs(3);
/// How many faults a report keeps.
const MAX_FAULTS: usize = 5;

/// Requests with tokens at a steady rate.
///
/// Each request has its time, and is sent as soon after it as its connection is free: a slow
/// response delays later requests, but drops none of them. The load ends when it is dropped.
#[derive(Debug)]
pub struct Load {
    connections: JoinSet<LoadReport>,
    /// The number of responses on each connection.
    responses: Arc<[AtomicU64]>,
    end: watch::Sender<Option<Instant>>,
}

/// Which requests to send.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Where to connect.
    pub address: SocketAddr,
    /// The path to get. The response must have a `Content-Length`.
    pub path: String,
    /// Number of connections.
    pub connections: u32,
    /// Requests per second, on all connections together.
    pub rate: u32,
    /// Whether each request gets a new connection; otherwise connections stay open.
    pub reconnects: bool,
}

impl Load {
    /// Starts. `token` returns the token of a request by the request's number, just before it is
    /// sent.
    pub fn start<T>(plan: &LoadPlan, token: T) -> Self
    where
        T: Fn(u64) -> Arc<str> + Send + Sync + 'static,
    {
        let token = Arc::new(token);
        let responses: Arc<[_]> = (0..plan.connections).map(|_| AtomicU64::new(0)).collect();
        let end = watch::Sender::new(None);
        let started = Instant::now();
        let mut connections = JoinSet::new();
        for (number, _) in (0_u64..).zip(&*responses) {
            let one = One { plan: plan.clone(), number, started, end: end.subscribe() };
            connections.spawn(one.run(token.clone(), responses.clone()));
        }
        Self { connections, responses, end }
    }

    /// Waits until all requests whose tokens were chosen before this call have responses.
    ///
    /// # Panics
    ///
    /// If that takes longer than the deadline.
    pub async fn settle(&self, deadline: Duration) {
        let asked = Instant::now();
        let count = |responses: &AtomicU64| responses.load(Ordering::SeqCst);
        let before: Vec<u64> = self.responses.iter().map(count).collect();
        while self.responses.iter().zip(&before).any(|(now, before)| count(now) == *before) {
            assert!(asked.elapsed() < deadline, "requests without a response after {deadline:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends once all requests sent so far have responses, and reports them.
    pub async fn stop(mut self) -> LoadReport {
        self.end.send_replace(Some(Instant::now()));
        let mut report = LoadReport::default();
        while let Some(part) = self.connections.join_next().await {
            report.add(part.expect("the load does not panic"));
        }
        report
    }
}

/// The result of a [`Load`].
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Requests that were due.
    pub planned: u64,
    /// Responses by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without a response.
    pub without_response: u64,
    /// The first responses other than 200, and connection errors, by the request's number.
    pub faults: BTreeMap<u64, String>,
    /// The longest time between a request and its response.
    pub longest: Duration,
}

impl LoadReport {
    /// Requests with a response.
    pub fn responses(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Requests without a response of status 200.
    pub fn failed(&self) -> u64 {
        self.responses() - self.statuses.get(&200).copied().unwrap_or_default()
            + self.without_response
    }

    fn add(&mut self, part: Self) {
        self.planned += part.planned;
        for (status, count) in part.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.without_response += part.without_response;
        self.longest = self.longest.max(part.longest);
        part.faults.into_iter().for_each(|(request, fault)| self.fault(request, fault));
    }

    fn fault(&mut self, request: u64, fault: String) {
        self.faults.insert(request, fault);
        if self.faults.len() > MAX_FAULTS {
            self.faults.pop_last();
        }
    }
}

/// A connection of the load.
struct One {
    plan: LoadPlan,
    number: u64,
    started: Instant,
    end: watch::Receiver<Option<Instant>>,
}

impl One {
    async fn run<T>(mut self, token: Arc<T>, responses: Arc<[AtomicU64]>) -> LoadReport
    where
        T: Fn(u64) -> Arc<str> + Send + Sync + 'static,
    {
        let index = usize::try_from(self.number).expect("it is an index");
        let mut report = LoadReport::default();
        let mut connection = None;
        let mut request = self.number;
        while self.awaits_its_time(request).await {
            report.planned += 1;
            let token = token(request);
            let sent = Instant::now();
            match self.send(&mut connection, &token).await {
                Ok((status, body)) => {
                    *report.statuses.entry(status).or_default() += 1;
                    if status != 200 {
                        report.fault(request, format!("{status} {body}"));
                    }
                }
                Err(error) => {
                    report.without_response += 1;
                    report.fault(request, error.to_string());
                }
            }
            report.longest = report.longest.max(sent.elapsed());
            responses[index].fetch_add(1, Ordering::SeqCst);
            request += u64::from(self.plan.connections);
        }
        // Requests that there was no time for.
        let end = *self.end.borrow();
        while end.is_some_and(|end| self.due(request) < end) {
            report.planned += 1;
            request += u64::from(self.plan.connections);
        }
        report
    }

    fn due(&self, request: u64) -> Instant {
        self.started + Duration::from_nanos(request * 1_000_000_000 / u64::from(self.plan.rate))
    }

    /// Waits until a request is due; false if that is after the end.
    async fn awaits_its_time(&mut self, request: u64) -> bool {
        let due = self.due(request);
        loop {
            let end = *self.end.borrow_and_update();
            match end {
                Some(end) => return due < end && end.elapsed() < GRACE,
                None if due <= Instant::now() => return true,
                None => tokio::select! {
                    () = sleep_until(due) => {}
                    _ = self.end.changed() => {}
                },
            }
        }
    }

    async fn send(
        &self,
        connection: &mut Option<KeptConnection>,
        token: &str,
    ) -> std::io::Result<(u16, String)> {
        let mut open = match connection.take() {
            Some(open) => open,
            None => KeptConnection::open(self.plan.address).await?,
        };
        let response = open.get(&self.plan.path, token).await?;
        *connection = (open.is_open() && !self.plan.reconnects).then_some(open);
        let status = response.status();
        Ok((status, if status == 200 { String::new() } else { response.body() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::identity_provider::{Document, IdentityProvider};

    fn plan(provider: &IdentityProvider, rate: u32) -> LoadPlan {
        LoadPlan {
            address: provider.address(),
            path: "/jwks".to_owned(),
            connections: 10,
            rate,
            reconnects: false,
        }
    }

    #[tokio::test]
    async fn as_many_requests_are_sent_as_were_planned() {
        let provider = IdentityProvider::start().await;
        let load = Load::start(&plan(&provider, 200), |number| number.to_string().into());
        provider.await_count(Document::KeySet, 100, Duration::from_secs(10)).await;
        let report = load.stop().await;
        assert_eq!(report.responses(), report.planned);
        assert!(report.planned >= 100, "{report:?}");
        assert_eq!(report.failed(), 0);
        assert_eq!(usize::try_from(report.responses()), Ok(provider.count(Document::KeySet)));
        // Each request had its own number.
        let tokens: std::collections::BTreeSet<_> = provider
            .requests()
            .into_iter()
            .flat_map(|request| request.headers)
            .filter(|(name, _)| name == "authorization")
            .collect();
        assert_eq!(u64::try_from(tokens.len()), Ok(report.responses()));
    }

    #[tokio::test]
    async fn requests_that_are_late_are_sent_nevertheless() {
        let provider = IdentityProvider::start().await;
        provider.fail(Document::KeySet, Fault::Hang);
        let load = Load::start(&plan(&provider, 1000), |_| "".into());
        provider.await_count(Document::KeySet, 10, Duration::from_secs(10)).await;
        sleep(Duration::from_millis(100)).await;
        assert_eq!(provider.count(Document::KeySet), 10);
        provider.heal(Document::KeySet);
        let report = load.stop().await;
        assert!(report.planned > 50 && report.responses() == report.planned, "{report:?}");
    }

    #[tokio::test]
    async fn earlier_requests_get_responses_once_settled() {
        let provider = IdentityProvider::start().await;
        let token = Arc::new(std::sync::Mutex::new("old"));
        let load = Load::start(&plan(&provider, 500), {
            let token = token.clone();
            move |_| (*token.lock().unwrap()).into()
        });
        provider.await_count(Document::KeySet, 20, Duration::from_secs(10)).await;
        *token.lock().unwrap() = "new";
        load.settle(Duration::from_secs(10)).await;
        provider.clear_log();
        provider.await_count(Document::KeySet, 20, Duration::from_secs(10)).await;
        drop(load);
        for request in provider.requests() {
            assert!(request.headers.contains(&("authorization".into(), "Bearer new".into())));
        }
    }

    #[tokio::test]
    async fn other_responses_and_missing_ones_are_reported() {
        let mut provider = IdentityProvider::start().await;
        provider.fail(Document::KeySet, Fault::Status(503));
        let load = Load::start(&plan(&provider, 100), |_| "".into());
        load.settle(Duration::from_secs(10)).await;
        provider.stop().await;
        load.settle(Duration::from_secs(10)).await;
        let report = load.stop().await;
        assert!(report.statuses[&503] > 0 && report.without_response > 0, "{report:?}");
        assert_eq!(report.failed(), report.statuses[&503] + report.without_response);
        assert!(report.faults[&0].contains("503 status 503"), "{report:?}");
    }
}
