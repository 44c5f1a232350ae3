/**
 * Asks the holders of a publication, over other loops than those that brought the shares, to prove what they took, and reads some shares back.
 * Spec: SPEC.md §7.10. Threat: stores that say yes and keep nothing, or keep and do not serve.
 *
 * Limits: `ASKS_MAX` asks under way.
 */
import { equalPublic, type NodeId } from '../../src/bytes/index.ts'
import { SHARE_BYTES } from '../../src/content/constants.ts'
import type { HolderHealth } from '../../src/content/holder-health.ts'
import type { ShareNetwork } from '../../src/content/network.ts'
import { Permits } from '../../src/content/permits.ts'
import { CHECK_BYTES } from '../../src/content/proof.ts'
import { isShareOf } from '../../src/content/share.ts'
import { survivedLosses } from '../../src/content/spread.ts'
import { type Clock, type Rng, shuffled } from '../../src/runtime/index.ts'
import { askPatiently } from '../repair/patience.ts'
import type { Expected, ExpectedSegment } from './expectations.ts'

// Implementation constants.
const ASKS_MAX = 24
/** Shares that are read back whole. */
const READ_BACK = 8

export interface ConfirmParts {
  readonly network: ShareNetwork
  /** Who did not answer though it was asked patiently: waited for once, whatever is asked of it. Grows. */
  readonly absent: HolderHealth
  readonly clock: Clock
  readonly rng: Rng
  readonly signal: AbortSignal
}

export interface Confirmation {
  /** Shares that were asked for. */
  readonly checked: number
  /** Losses that the weakest of the segments survives. */
  readonly survives: number
  readonly holders: ReadonlySet<NodeId>
  /** Who took shares and could not prove it, or sent other bytes. */
  readonly liars: ReadonlySet<NodeId>
  /** Who did not answer. */
  readonly away: ReadonlySet<NodeId>
}

type Outcome = 'right' | 'wrong' | 'away'

/** Asks for every share of `segments`. Errors: the signal's reason, a fault of the program. */
export async function confirm(segments: readonly ExpectedSegment[], parts: ConfirmParts): Promise<Confirmation> {
  const { network, rng } = parts
  const permits = new Permits(ASKS_MAX)
  const proven = new Map<Expected, boolean>()
  const found = { right: new Set<NodeId>(), wrong: new Set<NodeId>(), away: new Set<NodeId>() }
  const all = shuffled(
    segments.flatMap(({ shares }) => shares),
    rng,
  )
  const check = async (share: Expected): Promise<void> => {
    const { node, address, nonce, proof } = share
    const outcome = await ask(node, CHECK_BYTES, permits, parts, async (signal) => {
      const answer = await network.checkShare(node, { address, nonce, keepHours: 0 }, { signal })
      return answer !== null && equalPublic(answer, proof)
    })
    proven.set(share, outcome === 'right')
    found[outcome].add(node)
  }
  const read = async ({ node, address }: Expected): Promise<void> => {
    const outcome = await ask(node, SHARE_BYTES, permits, parts, async (signal) => {
      const share = await network.getShare(node, address, { signal })
      return share !== null && isShareOf(share, address)
    })
    found[outcome].add(node)
  }
  const outcomes = await Promise.allSettled([...all.map(check), ...all.slice(0, READ_BACK).map(read)])
  const broken = outcomes.find((outcome) => outcome.status === 'rejected')
  if (broken !== undefined) throw broken.reason
  // Whoever lied once is taken for nobody: nothing of what he says counts.
  const counts = segments.map(({ k, shares }) => {
    const held = new Map<NodeId, number>()
    for (const share of shares) {
      if (proven.get(share) !== true || found.wrong.has(share.node)) continue
      held.set(share.node, (held.get(share.node) ?? 0) + 1)
    }
    return survivedLosses([...held.values()], k)
  })
  const holders = new Set([...found.right].filter((node) => !found.wrong.has(node)))
  return { checked: all.length, survives: Math.min(...counts), holders, liars: found.wrong, away: found.away }
}

async function ask(
  node: NodeId,
  bytes: number,
  permits: Permits,
  parts: ConfirmParts,
  run: (signal: AbortSignal) => Promise<boolean>,
): Promise<Outcome> {
  await permits.take(parts.signal)
  try {
    const { network, absent, signal } = parts
    const wait = () => network.ready?.(node, bytes, { signal })
    const giveUp = () => absent.isSuspect(node)
    const asked = await askPatiently({ ...parts, patience: network.patience }, run, { wait, giveUp })
    if (asked.kind === 'answer') absent.answered(node, asked.tookMs)
    if (asked.kind === 'away') absent.failed(node)
    return asked.kind !== 'answer' ? 'away' : asked.value ? 'right' : 'wrong'
  } finally {
    permits.give()
  }
}
