/**
 * `/metrics` for Prometheus (text format 0.0.4), from a registry of our own: nothing that the library would collect by itself. Each figure has
 * its argument here, for a monitoring system keeps what it gets, often on other machines. Rules (STYLE "Config, logs, metrics"): no label that
 * names a peer, circuit or address, and no figure from whose course one can read what this node's user did at a time.
 *
 *   uptime_seconds      when the node was started
 *   nodes_known, neighbours   the network, as public as the directory
 *   shares_held, store_bytes  to 256 shares (16 MiB): own publications put some in the own store too
 *   store_quota_bytes   configuration
 *   relayed_circuits    to the next multiple of 16; own loops are not counted
 *
 * Only behind the token, for they move with what this node's user does:
 *   memory_bytes        of the process, to 8 MiB: one fetch's buffers (2.5 MiB) do not show, several do
 *   event_loop_lag      99th percentile since the last look, to 10 ms: publishing costs time
 *   loops_ready         to the next multiple of 4: a fetch takes most of them, and the pool is filled up again
 *   sites, services     how many this node publishes
 */
import type { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Registry } from 'prom-client'
import type { NodeFace } from '../library.ts'

// Implementation constants.
const MEMORY_STEP = 8 * 1024 * 1024
const SHARES_STEP = 256
const SHARE_BYTES = 65_536
const LOOPS_STEP = 4
const LAG_STEP_S = 0.01
/** How often the lag is sampled, from the first look on. */
const LAG_RESOLUTION_MS = 50
const PREFIX = 'gyre_'

/** The next multiple of `step` that is not less than `value`. */
export function roundedUp(value: number, step: number): number {
  return Math.ceil(value / step) * step
}

type Lag = ReturnType<typeof monitorEventLoopDelay>

/** What can be measured beside the face. */
export interface MetricsParts {
  readonly face: NodeFace
  /** Resident memory in bytes. */
  readonly memory: () => number
}

interface Figures {
  /** Without what the user's own actions change. */
  readonly open: Registry
  readonly whole: Registry
  readonly contentType: string
}

export class Metrics {
  readonly #parts: MetricsParts
  #figures: Promise<Figures> | null = null
  #lag: Lag | null = null

  constructor(parts: MetricsParts) {
    this.#parts = parts
  }

  /** The text; `whole`: for who has the token. */
  async text(whole: boolean): Promise<{ readonly body: string; readonly contentType: string }> {
    // Loaded when first asked for: most nodes are never scraped, and would carry it all the same.
    this.#figures ??= this.#make()
    const { open, whole: all, contentType } = await this.#figures
    return { body: await (whole ? all : open).metrics(), contentType }
  }

  /** Stops what samples. Idempotent. */
  close(): void {
    this.#lag?.disable()
    this.#lag = null
  }

  async #make(): Promise<Figures> {
    const [{ Gauge, Registry }, { monitorEventLoopDelay }] = await Promise.all([import('prom-client'), import('node:perf_hooks')])
    const { face, memory } = this.#parts
    const lag = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS })
    lag.enable()
    this.#lag = lag
    const open = new Registry()
    const whole = new Registry()
    const gauge = (registers: Registry[], name: string, help: string, value: () => number) => {
      new Gauge({
        name: `${PREFIX}${name}`,
        help,
        registers,
        collect() {
          this.set(value())
        },
      })
    }
    const all = [open, whole]
    gauge(all, 'uptime_seconds', 'Seconds since the node was started.', () => face.status().uptimeSeconds)
    gauge([whole], 'memory_bytes', 'Resident memory of the process, to 8 MiB.', () => roundedUp(memory(), MEMORY_STEP))
    gauge([whole], 'event_loop_lag_seconds', '99th percentile of the lag since the last look, to 10 ms.', () => lagOf(lag))
    gauge(all, 'nodes_known', 'Nodes in the directory.', () => face.status().nodesKnown)
    gauge(all, 'neighbours', 'Neighbours with a link.', () => face.status().neighbours)
    gauge([whole], 'loops_ready', 'Own loops that wait for work, to the next 4.', () =>
      roundedUp(face.status().loopsReady, LOOPS_STEP),
    )
    gauge(all, 'shares_held', 'Shares in the store, to the next 256.', () => roundedUp(face.status().sharesHeld, SHARES_STEP))
    gauge(all, 'store_bytes', 'Bytes in the store, to the next 16 MiB.', () =>
      roundedUp(face.status().storeBytes, SHARES_STEP * SHARE_BYTES),
    )
    gauge(all, 'store_quota_bytes', 'Most bytes that the store takes.', () => face.status().storeQuotaBytes)
    gauge(
      all,
      'relayed_circuits',
      "Circuits of others' loops through this node, to the next 16.",
      () => face.status().circuitsRelayed ?? 0,
    )
    gauge([whole], 'sites', 'Sites that this node publishes.', () => face.sites.list().length)
    gauge([whole], 'services', 'Live services that this node hosts.', () => face.services.list().length)
    return { open, whole, contentType: whole.contentType }
  }
}

function lagOf(lag: Lag): number {
  const seconds = Math.max(0, lag.percentile(99) / 1e9 - LAG_RESOLUTION_MS / 1000)
  lag.reset()
  return Number.isFinite(seconds) ? Math.round(seconds / LAG_STEP_S) * LAG_STEP_S : 0
}
