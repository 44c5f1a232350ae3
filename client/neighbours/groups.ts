/**
 * Which part of the address space a node is in: nodes of one /16 (IPv6: /32) are likely to be one operator's or one wire's, and are
 * kept apart among neighbours and on loops where the network allows. Spec: SPEC.md §6.4.
 */

/** `4:a.b` or `6:xxxx:yyyy` of a multiaddr with an IP address; `null` for a name (it is not looked up) or anything else. */
export function groupOf(address: string): string | null {
  const [, protocol, value] = address.split('/', 3)
  if (value === undefined) return null
  if (protocol === 'ip4') {
    const bytes = value.split('.')
    return bytes.length === 4 ? `4:${Number(bytes[0])}.${Number(bytes[1])}` : null
  }
  if (protocol !== 'ip6') return null
  const mapped = /^::ffff:(\d+)\.(\d+)\.\d+\.\d+$/i.exec(value)
  if (mapped) return `4:${Number(mapped[1])}.${Number(mapped[2])}`
  const [head = '', tail] = value.split('::', 2)
  const words = head === '' ? [] : head.split(':')
  if (tail === undefined && words.length < 8) return null
  const word = (at: number) => Number.parseInt(words[at] ?? '0', 16).toString(16)
  return `6:${word(0)}:${word(1)}`
}
