/** Tars for tests: by `tar-stream`'s own packer where it will do, and raw headers where a tar has to be wrong. */
import { type Headers, pack } from 'tar-stream'
import { collect } from './fake-share-network.ts'

/** A tar of these entries, as one array. */
export async function tarOf(
  entries: readonly (Partial<Headers> & { readonly name: string; readonly content?: string | Uint8Array })[],
): Promise<Uint8Array> {
  const packing = pack()
  for (const { content, ...header } of entries) {
    if (content === undefined) packing.entry(header, () => {})
    else packing.entry(header, Buffer.from(content))
  }
  packing.finalize()
  return collect(packing as AsyncIterable<Uint8Array>)
}

/** One header of 512 bytes with a right checksum (POSIX.1-2017, ustar). */
export function rawHeader(name: string, size: string, type: string, change: (header: Buffer) => void = () => {}): Uint8Array {
  const header = Buffer.alloc(512)
  header.write(name, 0, 100)
  header.write('0000644\0', 100)
  header.write(`${size.padStart(11, '0')} `, 124)
  header.write('00000000000\0', 136)
  header.write(type, 156)
  header.write('ustar\0', 257, 'latin1')
  header.write('00', 263)
  change(header)
  header.fill(' ', 148, 156)
  let sum = 0
  for (const byte of header) sum += byte
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return new Uint8Array(header)
}
