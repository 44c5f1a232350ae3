/**
 * Public face of sites: publishing a folder or tar as the next version of a site, and opening versions of sites. Format: SPEC.md §12; why it
 * is so: README.md of this folder. A face serves an opened site with `serveSite` of `client/http/`.
 */
export { type FolderFile, type FolderItem, folderSite, listFolder, type RefusedItem } from './folder.ts'
export { mediaTypeOf } from './media-types.ts'
export { SitePublisher, type SitePublisherParts } from './publisher.ts'
export { openSite, readSiteIndex, type SiteParts } from './reader.ts'
export { type FoundKey, Resolver, type ResolverParts } from './resolver.ts'
export { tarFiles } from './tar.ts'
