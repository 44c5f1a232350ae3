/**
 * An origin without manners: it builds a loop like any other, then a test decides each cell. For origins that never poll, ignore credit or
 * say what no origin says, and for opening recorded cells with the right keys as a control.
 */
import { BODY_BYTES, CELL_BYTES, CELL_HEADER_BYTES, Command, RECOGNISED_BYTES } from '../../src/cell/index.ts'
import {
  type CircuitEnd,
  isRecognised,
  type LaunchedLoop,
  type LayerSecrets,
  type LoopEnd,
  OriginLayers,
} from '../../src/circuit/index.ts'
import { buildSetUp, swiftPlan } from '../../src/circuit/setup/index.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'
import { StreamMux } from '../../src/stream/index.ts'
import type { Mesh } from './mesh.ts'

/** What came home: which hop had been addressed, and its frames, or `null` for noise. */
export interface HomeCell {
  readonly addressee: number
  readonly frames: Uint8Array | null
}

const FRAMES_AT = CELL_HEADER_BYTES + RECOGNISED_BYTES
const ONE = Int32Array.of(0)

export class RawOrigin implements LoopEnd {
  readonly home: HomeCell[] = []
  /** Why the circuit is gone, once it is. */
  gone: CircuitEnd | null = null
  /** The secrets of all hops: copies. */
  readonly secrets: readonly LayerSecrets[]
  /** Streams with one hop, for tests that want a well-behaved codec and ill-behaved use. Nothing is sent by itself. */
  readonly mux = new StreamMux({ role: 'origin', wake: () => {} })
  readonly #layers: OriginLayers
  readonly #addressees: number[] = []
  #launched: LaunchedLoop | null = null
  #sent = 0

  constructor(layers: OriginLayers, secrets: readonly LayerSecrets[]) {
    this.#layers = layers
    this.secrets = secrets
  }

  attach(launched: LaunchedLoop): void {
    this.#launched = launched
  }

  /** Sends one cell to `addressee` (1 … n, n + 1 for filler). `frames` absent: what the mux has. `false`: the lane is full. */
  send(addressee: number, frames?: Uint8Array): boolean {
    const cell = new Uint8Array(CELL_BYTES)
    if (frames === undefined) this.mux.fill(cell, FRAMES_AT, CELL_BYTES)
    else cell.set(frames, FRAMES_AT)
    this.#layers.wrap(addressee, cell, ONE, Uint32Array.of(this.#sent++), 1)
    this.#addressees.push(addressee)
    const { lane } = this.#launched!
    const taken = lane.push(Command.CIRCUIT, cell.subarray(CELL_HEADER_BYTES))
    this.#launched!.flush()
    return taken
  }

  /** Sends a body as it is: noise to all. */
  sendRaw(body: Uint8Array = new Uint8Array(BODY_BYTES)): void {
    this.#sent++
    this.#addressees.push(0)
    this.#launched!.lane.push(Command.CIRCUIT, body)
    this.#launched!.flush()
  }

  onHome(cells: Uint8Array, offsets: Int32Array, count: number): void {
    for (let cell = 0; cell < count; cell++) {
      const counter = this.home.length
      const addressee = this.#addressees[counter] ?? 0
      const copy = cells.slice(offsets[cell]!, offsets[cell]! + CELL_BYTES)
      if (addressee > 0) this.#layers.open(addressee, copy, ONE, Uint32Array.of(counter), 1)
      const known = addressee > 0 && isRecognised(copy, CELL_HEADER_BYTES)
      this.home.push({ addressee, frames: known ? copy.slice(FRAMES_AT) : null })
      if (known && addressee <= this.#layers.hops) this.mux.receive(copy, FRAMES_AT, CELL_BYTES)
    }
  }

  onTurnEnd(): void {}

  onGone(reason: CircuitEnd): void {
    this.gone = reason
  }

  close(): void {
    this.#launched?.close()
  }
}

/** Builds a raw loop from node `index` along its path. The test lets the clock run until `ready()` gives it. */
export function launchRaw(mesh: Mesh, index: number, clock: Clock, rng: Rng): { ready(): RawOrigin | null } {
  const node = mesh.nodes[index]!
  const members = node.path.hops.map((id) => {
    const hop = mesh.nodes.find((other) => other.id === id)!
    return { id, onion: hop.onionKeys.published }
  })
  const plan = swiftPlan(clock.unixMs())
  const { packet, pending } = buildSetUp({
    network: mesh.network,
    members,
    self: { id: node.id, onion: node.onionKeys.published },
    claim: (kid, ephemeral) => node.onionKeys.claim(kid, ephemeral),
    plan,
    rng,
  })
  let origin: RawOrigin | null = null
  const last = node.path.hops.at(-1)!
  const launched = node.relay.launch({
    first: node.path.hops[0]!,
    last,
    plan,
    packet,
    ephemeral: pending.ephemeral,
    onReturn(returned) {
      const secrets = pending.complete(returned, last)
      if (secrets === null) return null
      origin = new RawOrigin(new OriginLayers(mesh.cipher, secrets, rng.bytes(32)), secrets)
      return origin
    },
    onGone: () => {},
  })
  let attached = false
  return {
    ready() {
      if (origin === null || launched === null) return null
      if (!attached) origin.attach(launched)
      attached = true
      return origin
    },
  }
}
