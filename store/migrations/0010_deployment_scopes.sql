-- Deployments have scopes of their own: tokens that may do everything may do this too.

update token set scopes =
    '["predictions:read","predictions:write","models:read","models:write","deployments:read","deployments:write","account:read","account:write","operator"]'
where scopes = '["predictions:read","predictions:write","models:read","models:write","account:read","account:write","operator"]';
