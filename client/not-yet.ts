/** Stands in for parts of a node that are being built: every call says so. */
import { OverlayError } from '../src/errors/index.ts'
import type { Names, Services, Sites } from './library.ts'

function missing(): never {
  throw new OverlayError('unreachable', 'NODE_NOT_READY', 'This part of the node is not there yet.')
}

export const noSites: Sites = { publish: async () => missing(), list: () => [] }
export const noServices: Services = { add: async () => missing(), list: () => [], get: () => null, remove: async () => false }
export const noNames: Names = { find: () => null, list: () => [], put: async () => missing(), remove: async () => false }
