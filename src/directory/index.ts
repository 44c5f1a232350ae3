/** Public face of the directory: who is in the network and which links join them, and how nodes keep it the same. Spec: SPEC.md §6. */
export { makeFolder, syncFolder, writeAtomically } from './atomic-file.ts'
export { ControlReassembler, FRAGMENT_BYTES, toControlBodies } from './control.ts'
export {
  DESCRIPTOR_LIFE_MS,
  DESCRIPTOR_WORK_BITS,
  DESCRIPTOR_WORK_LABEL,
  type DescriptorClaims,
  type DescriptorFault,
  type DirectoryRules,
  makeDescriptor,
  networkIdOf,
  PUBLISHED_AHEAD_MS,
  type VerifiedDescriptor,
  verifyDescriptor,
  workBinding,
} from './descriptor.ts'
export { type AddVerdict, DIRECTORY_NODES_MAX, Directory, updateEveryMs } from './directory.ts'
export { Gossip, type GossipEffect, roundIntervalMs } from './gossip.ts'
export { type LoadedDirectory, loadDirectory, saveDirectory } from './saved.ts'
export type { Descriptor, DirectoryView, OnionPublicKeys } from './types.ts'
