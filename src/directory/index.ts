/** Public face of the directory: who is in the network and which links join them. Spec: SPEC.md §6. */
export type { Descriptor, DirectoryView, OnionPublicKeys } from './types.ts'
