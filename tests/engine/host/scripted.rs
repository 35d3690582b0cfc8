//! The host as the engine sees it.

use super::*;

impl ScriptedHost {
    fn metric(&self, name: &str) -> MetricId {
        let metrics = &mut self.0.borrow_mut().metrics;
        assert!(metrics.iter().all(|(known, _)| known != name), "{name} is defined twice");
        metrics.push((name.to_owned(), 0));
        MetricId(u32::try_from(metrics.len() - 1).unwrap())
    }

    fn with_stream<T>(
        &self,
        id: StreamId,
        action: impl FnOnce(&mut ServedStream) -> Result<T, HostRefused>,
    ) -> Result<T, HostRefused> {
        self.0.borrow_mut().streams.get_mut(&number(id)).ok_or(HostRefused).and_then(action)
    }
}

impl Host for ScriptedHost {
    fn now(&self) -> Option<UnixTime> {
        Some(UnixTime::default() + self.0.borrow().now)
    }

    fn random(&self) -> u64 {
        use std::hash::{BuildHasher, RandomState};

        RandomState::new().hash_one(())
    }

    fn random_bytes(&self) -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.random().to_le_bytes());
        }
        Some(bytes)
    }

    fn tick_every(&mut self, period: Duration) -> bool {
        self.0.borrow_mut().tick_period = Some(period);
        true
    }

    fn log(&self, level: log::Level, line: fmt::Arguments<'_>) {
        let line = mcp_federated_auth::escaped_line(&line.to_string()).into_owned();
        LOG.with_borrow_mut(|log| log.push((level, line)));
    }

    fn shared_value(&self, name: &str) -> SharedValue {
        self.0.borrow().shared.read(name)
    }

    fn replace_shared_value(&self, name: &str, value: &[u8], version: Option<u32>) -> bool {
        self.0.borrow().shared.replace(name, value, version)
    }

    fn call(&mut self, request: &CalloutRequest, timeout: Duration) -> Option<CalloutId> {
        let mut proxy = self.0.borrow_mut();
        if proxy.refuse_calls || timeout < Duration::from_millis(1) {
            return None;
        }
        let id = new_number();
        let field = |(name, value): &(&str, String)| ((*name).to_owned(), value.as_bytes().into());
        proxy.calls.push(Call {
            id,
            cluster: request.cluster.clone(),
            headers: request.fields.iter().map(field).collect(),
            body: request.body.clone().unwrap_or_default(),
            timeout,
        });
        Some(CalloutId(id.into()))
    }

    fn part(&self) -> Part {
        self.0.borrow().part
    }

    fn demand_keys(&mut self, demand: KeyDemand) {
        self.0.borrow_mut().demands.push(demand);
    }

    fn announce_keys(&self) {
        self.0.borrow().shared.0.lock().unwrap().key_announcements += 1;
    }

    fn key_announcements(&self) -> Option<u64> {
        let proxy = self.0.borrow();
        let announcements = proxy.shared.0.lock().unwrap().key_announcements;
        (proxy.part == Part::Requests).then_some(announcements)
    }

    fn counter(&self, metric: Metric<'_>) -> MetricId {
        self.metric(&metric.to_string())
    }

    fn gauge(&self, metric: Metric<'_>) -> MetricId {
        self.metric(&metric.to_string())
    }

    fn increment(&self, MetricId(id): MetricId) {
        self.0.borrow_mut().metrics[usize::try_from(id).unwrap()].1 += 1;
    }

    fn set_gauge(&self, MetricId(id): MetricId, value: u64) {
        self.0.borrow_mut().metrics[usize::try_from(id).unwrap()].1 = value;
    }

    fn metric_value(&self, MetricId(id): MetricId) -> Option<u64> {
        Some(self.0.borrow().metrics.get(usize::try_from(id).unwrap())?.1)
    }

    fn is_open(&mut self, id: StreamId) -> bool {
        self.0.borrow().streams.contains_key(&number(id))
    }

    fn edit_request(&mut self, stream: StreamId, edits: &RequestEdits) -> Result<(), HostRefused> {
        self.with_stream(stream, |stream| {
            if stream.is_released {
                let is_empty = *edits == RequestEdits::default();
                return if is_empty { Ok(()) } else { Err(HostRefused) };
            }
            let fields = &mut stream.request;
            fields.retain(|(name, _)| edits.remove.iter().all(|removed| removed != name));
            if let Some(connection) = edits.connection {
                fields.retain(|(name, _)| name != "connection");
                fields.push(("connection".to_owned(), connection.into()));
            }
            fields.extend(edits.added().map(|(name, value)| (name.to_owned(), value.into())));
            Ok(())
        })
    }

    fn remove_trailers(
        &mut self,
        stream: StreamId,
        is_removed: impl Fn(&[u8]) -> bool,
    ) -> Result<(), HostRefused> {
        if self.0.borrow().fixed_trailers.contains(&number(stream)) {
            return Err(HostRefused);
        }
        self.with_stream(stream, |stream| {
            stream.trailers.retain(|(name, _)| !is_removed(name.as_bytes()));
            Ok(())
        })
    }

    fn request_body(&mut self, stream: StreamId, size: usize) -> Result<Vec<u8>, HostRefused> {
        let mut proxy = self.0.borrow_mut();
        proxy.body_reads += 1;
        let shown = size.saturating_add(1).min(proxy.max_body_seen);
        let stream = proxy.streams.get(&number(stream)).ok_or(HostRefused)?;
        Ok(stream.held.get(..shown).unwrap_or(&stream.held).to_vec())
    }

    fn received_bytes(&mut self, stream: StreamId) -> Option<u64> {
        let proxy = self.0.borrow();
        let stream = proxy.streams.get(&number(stream)).filter(|_| proxy.reports_received)?;
        let fields = stream.request.iter();
        let head: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
        let body = stream.held.len() + stream.passed.len() + stream.unseen.len();
        u64::try_from(head + body + proxy.elsewhere).ok()
    }

    fn set_filter_state(&mut self, stream: StreamId, name: &str, value: &str) {
        let replaces = self.replaces_filter_state();
        let _ = self.with_stream(stream, |stream| {
            let earlier = stream.filter_state.insert(name.to_owned(), value.to_owned());
            assert!(replaces || earlier.is_none(), "{name} is set again");
            Ok(())
        });
    }

    fn replaces_filter_state(&self) -> bool {
        !self.0.borrow().keeps_filter_state
    }

    fn response_body(&mut self, stream: StreamId, size: usize) -> Result<Vec<u8>, HostRefused> {
        self.with_stream(stream, |stream| {
            Ok(stream.arriving.get(..size).unwrap_or(&stream.arriving).to_vec())
        })
    }

    fn replace_response_body(&mut self, stream: StreamId, body: &[u8]) -> Result<(), HostRefused> {
        self.with_stream(stream, |stream| {
            stream.arriving = body.to_vec();
            Ok(())
        })
    }

    fn remove_response_field(&mut self, stream: StreamId, name: &str) -> Result<(), HostRefused> {
        self.with_stream(stream, |stream| {
            if stream.keeps_response_head {
                return Err(HostRefused);
            }
            stream.response_head.retain(|(known, _)| known != name);
            Ok(())
        })
    }

    fn add_response_field(
        &mut self,
        stream: StreamId,
        name: &str,
        value: &str,
    ) -> Result<(), HostRefused> {
        self.with_stream(stream, |stream| {
            stream.response_head.push((name.to_owned(), value.into()));
            Ok(())
        })
    }

    fn respond(&mut self, stream: StreamId, response: Response) -> Result<(), HostRefused> {
        let field = |(name, value): &(&'static str, std::borrow::Cow<'static, str>)| {
            ((*name).to_owned(), value.as_bytes().to_vec())
        };
        let response = LocalResponse {
            status: response.status.into(),
            headers: response.headers.iter().map(field).collect(),
            body: response.body.clone(),
        };
        self.with_stream(stream, |stream| {
            assert!(stream.response.is_none(), "a request got two responses");
            stream.response = Some(response);
            Ok(())
        })
    }

    fn resume_response(&mut self, stream: StreamId) {
        let _ = self.with_stream(stream, |stream| {
            stream.is_response_resumed = true;
            Ok(())
        });
    }

    fn resume(&mut self, stream: StreamId) {
        let _ = self.with_stream(stream, |stream| {
            stream.release();
            Ok(())
        });
    }
}
