/**
 * Nodes that lie about who is in the network: real ones (`neighbour-net.ts`) whose directory shows others something else than it holds. They greet,
 * gossip and stay like honest ones. And identities that are made up, with the work that a descriptor costs.
 */
import type { NodeId } from '../../../src/bytes/index.ts'
import { Directory } from '../../../src/directory/index.ts'
import { TEST_RULES, type TestNode, testDescriptor, testNode } from '../../support/directory.ts'
import type { NetNode } from '../../support/neighbour-net.ts'

/** `liar` shows only the nodes that `shows` lets through, whoever asks. What it is told it takes. */
export function omits({ directory }: NetNode, shows: (id: NodeId) => boolean): void {
  show(directory, directory, shows)
}

/** `liar` shows what it knew at this moment, and never anything newer: old descriptors without end. */
export function replays(liar: NetNode, clock: ConstructorParameters<typeof Directory>[0]['clock']): void {
  const { directory, identity } = liar
  const then = new Directory({ rules: TEST_RULES, clock, self: identity.id })
  for (const { id } of directory.all()) {
    const signed = directory.signedOf(id)
    if (signed !== undefined) then.add(signed)
  }
  show(directory, then, () => true)
}

/** Puts `shown` in front of `directory`, less what `shows` hides. */
function show(directory: Directory, shown: Directory, shows: (id: NodeId) => boolean): void {
  const seen = (hash: string) => {
    const signed = signedByHash(hash)
    return signed !== undefined && [...shown.all()].some(({ id }) => shows(id) && shown.signedOf(id) === signed)
  }
  const signedByHash = shown.signedByHash.bind(shown)
  const hashesIn = shown.hashesIn.bind(shown)
  directory.hashesIn = (bucket) => hashesIn(bucket).filter(seen)
  directory.signedByHash = (hash) => (seen(hash) ? signedByHash(hash) : undefined)
  // Not what it shows, so that there is always something to ask about.
  directory.digest = () => new Uint8Array(2048).fill(1)
}

/** Identities that nobody runs, with valid work: numbers `from` on. */
export function invented(from: number, count: number): { readonly node: TestNode; readonly descriptor: Uint8Array }[] {
  return Array.from({ length: count }, (_, at) => {
    const node = testNode(from + at)
    return { node, descriptor: testDescriptor(node) }
  })
}
