/** The `Gyre-Clock` header of a request, for both faces. Whether the node has such loops is the node's to say (`Asking.loopClock`). */
import type { IncomingHttpHeaders } from 'node:http'
import { CLOCKS, type ClockName } from '../../src/config/index.ts'
import { type ErrorCode, OverlayError } from '../../src/errors/index.ts'
import { HttpFailure } from './failure.ts'

/** The clock that a request asks for; `undefined`: the node's own. Throws `HttpFailure` with 400 and `code` for what is no clock. */
export function clockOf(headers: IncomingHttpHeaders, code: ErrorCode): ClockName | undefined {
  const wanted = headers['gyre-clock']
  if (wanted === undefined) return undefined
  const clock = CLOCKS.find((one) => one === wanted)
  if (clock !== undefined) return clock
  const takes = CLOCKS.map((one) => `"${one}"`).join(', ')
  throw new HttpFailure(400, new OverlayError('protocol', code, `The header Gyre-Clock takes ${takes}.`))
}
