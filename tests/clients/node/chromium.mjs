// Headless Chromium that makes no request of its own.
import { chromium } from 'playwright-core';

/// Starts the browser with this program.
export function launch(executablePath) {
  return chromium.launch({
    executablePath,
    args: [
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-gpu',
      '--disable-quic',
      '--disable-sync',
      '--no-first-run',
      '--no-proxy-server',
      '--no-sandbox',
    ],
  });
}
