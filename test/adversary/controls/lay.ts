/** Lays one of the control builds over this process. Before the first node is made. */
import { bareCells } from './bare-cells.ts'
import { codeSockets } from './coded-sockets.ts'
import type { Control } from './index.ts'
import { sendBack } from './sent-back.ts'
import { unpadded } from './unpadded.ts'
import { yamuxLink } from './yamux-links.ts'

export function lay(control: Control): void {
  bareCells()
  if (control === 'unpadded') codeSockets(unpadded)
  else if (control !== 'closed') sendBack()
  if (control === 'yamux') codeSockets((parts) => yamuxLink(parts))
}
