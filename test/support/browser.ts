/** Chromium without a window, with the HTTP proxy of a node for everything, and nothing of its own that goes elsewhere. */
import type { Browser } from 'playwright-core'
import type { TestnetNode } from '../../client/testnet/index.ts'
import { findClient } from './clients.ts'

export async function chromiumThrough(node: TestnetNode): Promise<Browser> {
  const { chromium } = await import('playwright-core')
  return chromium.launch({
    executablePath: findClient('chromium') ?? '',
    proxy: { server: node.proxy },
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
      ...['--disable-component-update', '--disable-sync', '--disable-default-apps', '--no-pings'],
    ],
  })
}
