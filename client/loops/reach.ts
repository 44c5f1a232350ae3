/**
 * Whether a loop can have a node in its middle, by what the directory says. A node that died loses its links within seconds, since its neighbours list
 * it no more; but neighbours that died together go on listing each other until their descriptors expire. So links must also lead here.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import type { DirectoryView } from '../../src/directory/index.ts'

// Implementation constants.
/** It has to have two ways: one in, one out. */
const LINKS_MIN = 2
/** So many nodes, all linked with each other somehow, are not taken for dead ones: this bounds the search too. */
const SEARCHED_MAX = 64

/** Whether links that both ends list lead from `node` to `self`. Looks at `SEARCHED_MAX` nodes at most. */
export function canBeReached(view: Pick<DirectoryView, 'linked'>, self: NodeId, node: NodeId): boolean {
  if (node === self) return true
  if (view.linked(node).length < LINKS_MIN) return false
  if (view.linked(self).length === 0) return true // this node is on its own for the moment, and cannot tell
  const seen = new Set<NodeId>([node])
  for (const each of seen) {
    for (const next of view.linked(each)) {
      if (next === self) return true
      seen.add(next)
    }
    if (seen.size > SEARCHED_MAX) return true
  }
  return false
}
