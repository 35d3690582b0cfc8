use crate::gateway::Gateway;
use crate::redis::Redis;
use crate::webdis::Webdis;

/// A store of spent tokens for several Envoys: Redis and webdis, with a [`Gateway`] in front.
#[derive(Debug)]
pub struct FleetStore {
    /// The store.
    pub redis: Redis,
    /// The HTTP server that the gateway forwards to.
    pub webdis: Webdis,
    /// The address that Envoy calls.
    pub gateway: Gateway,
}

impl FleetStore {
    /// Starts all parts.
    pub async fn start() -> Self {
        let redis = Redis::start().await;
        let webdis = Webdis::start(&redis).await;
        let gateway = Gateway::before(webdis.address()).await;
        Self { redis, webdis, gateway }
    }
}
