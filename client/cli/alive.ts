/**
 * Keeps this process alive while it waits. The clock's timers do not, on purpose; without a socket or a child, a wait on one of them would
 * end the process in the middle.
 */

/** Holds the process until the returned function is called. */
export function stayAlive(): () => void {
  const { port1 } = new MessageChannel()
  port1.ref()
  return () => port1.close()
}
