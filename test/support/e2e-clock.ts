/**
 * Which clock the networks of end-to-end tests have: `swift`, so that the suite takes minutes, or what `GYRE_TEST_CLOCK` says
 * (`npm run test:e2e -- --clock steady`). Under a paced clock everything waits for public times, and the tests for it.
 */
import { CLOCKS, type ClockName } from '../../src/config/index.ts'

const asked = process.env.GYRE_TEST_CLOCK ?? 'swift'
const named = CLOCKS.find((clock) => clock === asked)
if (named === undefined) throw new Error(`GYRE_TEST_CLOCK is not one of ${CLOCKS.join(', ')}`)

export const E2E_CLOCK: ClockName = named

/** `ms`, or as long as the same takes under a paced clock. */
export function patience(ms: number): number {
  return E2E_CLOCK === 'swift' ? ms : 8 * ms
}

/** `ms`, or what recovery takes under a paced clock: loops of both ends are replaced at public times, with a lead of half a minute, and the record after them. */
export function recovery(ms: number): number {
  return E2E_CLOCK === 'swift' ? ms : 180_000
}
