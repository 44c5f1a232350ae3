/** A receipt: how well something is stored, as its holders prove it now. It puts nothing back. Spec: SPEC.md §7.10. */
import type { Receipt } from '../library.ts'
import { type CareParts, type CareReport, careFor } from './care.ts'
import { sampleOf } from './picks.ts'

/** Of the file with key material `s`, with all that it refers to. Errors: those of `careFor`. */
export async function receiptOf(s: Uint8Array, parts: CareParts, signal: AbortSignal): Promise<Receipt> {
  const { clock, rng } = parts
  const report = await careFor(s, parts, {
    ...{ keepHours: 0, mend: false, liars: new Set(), signal },
    pick: (segments, holders) => sampleOf(segments, holders, rng),
  })
  return receiptFrom(report, clock.unixMs())
}

export function receiptFrom(report: CareReport, at: number): Receipt {
  const { survives, holders, checked, parts, missing } = report
  return { survives, of: holders.size, checked, parts, missing, at }
}
