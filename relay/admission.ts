/**
 * Who may set up circuits through this node, and how fast: assembly of set-up packets, a token bucket per neighbour, and the opening of a
 * record. Whatever is refused is dropped in silence; nothing is logged or counted per peer. Threat met: floods of set-ups (each costs this
 * node two key agreements), packets that are begun and never ended. Spec: SPEC.md §4.3.
 */
import type { NodeId } from '../src/bytes/index.ts'
import type { CircuitId } from '../src/cell/index.ts'
import { isFirstPart, type OnionKeyFinder, openSetUp, SetUpAssembler, type SetUpVerdict } from '../src/circuit/setup/index.ts'
import type { Link } from '../src/link/index.ts'
import { type Clock, TokenBucket } from '../src/runtime/index.ts'

// Implementation constants.
/** Set-ups that one neighbour may bring in a second, and at once. */
export const SETUPS_PER_SECOND = 200
export const SETUPS_BURST = 400

/** A set-up that this node takes part in. */
export type OpenedSetUp = Extract<SetUpVerdict, { readonly ok: true }>

export interface AdmissionDeps {
  /** Network id, 32 bytes. */
  readonly network: Uint8Array
  readonly self: NodeId
  readonly onionKeys: OnionKeyFinder
  readonly clock: Clock
}

interface LinkAccount {
  readonly assembler: SetUpAssembler
  readonly setUps: TokenBucket
}

export class Admission {
  readonly #deps: AdmissionDeps
  readonly #accounts = new Map<Link, LinkAccount>()

  constructor(deps: AdmissionDeps) {
    this.#deps = deps
  }

  /** Takes one SETUP cell's body (borrowed until return). The packet, once whole if it began within the neighbour's rate, else `null`. */
  onSetUpCell(link: Link, id: CircuitId, body: Uint8Array): Uint8Array | null {
    let account = this.#accounts.get(link)
    const now = this.#deps.clock.monotonicMs()
    if (account === undefined) {
      account = { assembler: new SetUpAssembler(), setUps: new TokenBucket(SETUPS_PER_SECOND, SETUPS_BURST, now) }
      this.#accounts.set(link, account)
    }
    // By its first cell: what is too much is not put together. Later parts of such a packet are out of order.
    if (isFirstPart(body) && !account.setUps.take(now)) return null
    const verdict = account.assembler.accept(id, body, now)
    return verdict.kind === 'packet' ? verdict.packet : null
  }

  /** Opens a packet that `previous` brought. `null`: it is not for us, or refused. */
  open(packet: Uint8Array, previous: NodeId, isNeighbour: (id: NodeId) => boolean): OpenedSetUp | null {
    const { network, self, onionKeys, clock } = this.#deps
    const verdict = openSetUp(packet, { network, self, onionKeys, nowMs: clock.unixMs(), previous, isNeighbour })
    return verdict.ok ? verdict : null
  }

  onLinkGone(link: Link): void {
    this.#accounts.delete(link)
  }
}
