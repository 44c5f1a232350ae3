/**
 * Makes sure that a publication is where its holders said that it is, and says how well it is stored. First a random sample of its segments is
 * asked for (`confirm.ts`); if somebody lied, or too few answered, all of it is gone through and mended, as a keeper would. Spec: SPEC.md §7.10.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { HALF_HOLDERS_MAX } from '../../src/content/constants.ts'
import type { RootKeys } from '../../src/content/root.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { FileMap } from '../fetch/block-source.ts'
import type { Receipt } from '../library.ts'
import { isAsPromised, type PassReport, runPass } from '../repair/index.ts'
import { type Confirmation, type ConfirmParts, confirm } from './confirm.ts'
import type { Expectations } from './expectations.ts'

// Implementation constant.
/** In a large network single holders are always away: so large a part of those asked may be without all being gone through. */
const AWAY_PART = 0.1

export interface ReceiptParts extends ConfirmParts {
  readonly map: FileMap
  readonly keys: RootKeys
  /** What the root slots hold. */
  readonly sealed: Uint8Array
  /** Nodes that were found to lie; grows. */
  readonly liars: Set<NodeId>
}

/** What was found of shares or slots. */
export interface Found extends Pick<PassReport, 'checked' | 'mended' | 'survives' | 'holders'> {
  /** Parts that there are. */
  readonly parts: number
}

/** Confirms the shares, and mends what has to be. Errors: `PUBLISH_FAILED`, the signal's reason. */
export async function confirmShares(expectations: Expectations, parts: ReceiptParts): Promise<Found> {
  const confirmation = await confirm(expectations.segments(), parts)
  const known = parts.network.holders().length
  if (isEnough(confirmation, known)) {
    const { checked, holders } = confirmation
    const survives = Math.min(confirmation.survives, expectations.weakest)
    return { checked, mended: 0, survives, holders, parts: expectations.parts }
  }
  for (const node of confirmation.liars) parts.liars.add(node)
  const report = await runPass({ ...parts, health: parts.absent, keepHours: 0, mend: true, home: false, slots: false })
  return { ...promised(report, known, 'The shares'), parts: expectations.parts }
}

/** The same for the root slots, all of them. Errors: `PUBLISH_FAILED`, the signal's reason. */
export async function confirmSlots(parts: ReceiptParts): Promise<Found> {
  const report = await runPass({ ...parts, health: parts.absent, segments: [], keepHours: 0, mend: true, home: false })
  return { ...promised(report, parts.network.holders().length, 'The root'), parts: report.checked }
}

/** The receipt of a publication of which both were found. */
export function receiptOf(shares: Found, slots: Found, at: number): Receipt {
  return {
    survives: Math.min(shares.survives, slots.survives),
    of: new Set([...shares.holders, ...slots.holders]).size,
    checked: shares.checked + slots.checked,
    parts: shares.parts + slots.parts,
    missing: 0,
    at,
  }
}

function isEnough({ liars, away, holders, survives }: Confirmation, known: number): boolean {
  if (liars.size > 0 || survives < 0) return false
  if (known > HALF_HOLDERS_MAX) return away.size <= AWAY_PART * (holders.size + away.size)
  return away.size === 0
}

function promised(report: PassReport, known: number, what: string): PassReport {
  if (isAsPromised(report, known)) return report
  const { survives, holders, missing, mended, checked } = report
  const found = `${missing - mended} of ${checked} parts are missing; the loss of any ${survives} of ${holders.size} holders is survived.`
  throw new OverlayError('unreachable', 'PUBLISH_FAILED', `${what} could not be read back as promised: ${found}`)
}
