/**
 * libp2p's logger, saying nothing. Its lines hold peer ids and addresses, which are never logged here (STYLE: config, logs, metrics), and
 * formatting them costs on every connection. What an operator needs to know, the host says itself.
 */
import type { ComponentLogger, Logger } from '@libp2p/interface'

function quiet(): void {
  // Nothing: see above.
}

const log: Logger = Object.assign(quiet, {
  error: quiet,
  trace: quiet,
  enabled: false,
  newScope: (): Logger => Object.assign(() => {}, { error: quiet, trace: quiet, enabled: false, newScope: log.newScope }),
})

export const quietLogger: ComponentLogger = { forComponent: () => log.newScope('') }
