/**
 * What happens to the other nodes while a transfer runs: every few seconds one of them is killed outright, or held, and comes back a while later.
 * Who is next is drawn; the same seed draws the same order.
 */
import type { Testnet } from '../../client/testnet/index.ts'
import { type Rng, systemClock } from '../../src/runtime/index.ts'

/** `kill`: SIGKILL, and a new process; `hold`: SIGSTOP, and SIGCONT. */
export type Hit = 'kill' | 'hold'

export interface KillerOptions {
  readonly testnet: Testnet
  /** Nodes that may be hit, by index. */
  readonly victims: readonly number[]
  readonly rng: Rng
  readonly everyMs: number
  readonly awayMs: number
  /** Before the first one. */
  readonly firstMs: number
  /** `both`: one after the other. */
  readonly how: Hit | 'both'
  readonly signal: AbortSignal
  readonly onHit?: (index: number, how: Hit) => void
}

export class Killer {
  readonly #options: KillerOptions
  readonly #stop = new AbortController()
  readonly #away = new Set<number>()
  readonly #coming = new Set<Promise<void>>()
  #hits = 0
  #run: Promise<void> = Promise.resolve()

  constructor(options: KillerOptions) {
    this.#options = options
  }

  /** Nodes that were hit so far. */
  get hits(): number {
    return this.#hits
  }

  start(): void {
    this.#run = this.#loop().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) throw error
    })
    this.#run.catch(() => {}) // `stop` sees it
  }

  /** No more hits; all nodes are back when it resolves. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('the transfer is over'))
    await this.#run
    await Promise.all(this.#coming)
  }

  async #loop(): Promise<void> {
    const { everyMs, firstMs, signal } = this.#options
    const both = { signal: AbortSignal.any([signal, this.#stop.signal]) }
    for (let wait = firstMs; ; wait = everyMs) {
      await systemClock.sleep(wait, both)
      const coming = this.#hit()
      this.#coming.add(coming)
      coming.then(
        () => this.#coming.delete(coming),
        () => {}, // `stop` sees it
      )
    }
  }

  async #hit(): Promise<void> {
    const { testnet, victims, rng, awayMs, how, onHit } = this.#options
    const there = victims.filter((index) => !this.#away.has(index))
    const index = there[rng.below(there.length)]
    if (index === undefined) return
    const hold = how === 'hold' || (how === 'both' && this.#hits % 2 === 1)
    this.#hits++
    this.#away.add(index)
    onHit?.(index, hold ? 'hold' : 'kill')
    const { pid } = testnet.node(index)
    if (hold) process.kill(pid, 'SIGSTOP')
    else await testnet.stop(index, true)
    await systemClock.sleep(awayMs, this.#stop).catch(() => {})
    if (hold) process.kill(pid, 'SIGCONT')
    else
      await testnet.start(
        index,
        testnet.nodes.flatMap((node) => (this.#away.has(node.index) ? [] : node.listen)),
      )
    this.#away.delete(index)
  }
}
