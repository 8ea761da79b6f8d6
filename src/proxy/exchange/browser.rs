//! The exchange of a browser: what the cookies of its session come to.

use http::{HeaderValue, Response};

use crate::proxy::answer::Rejection;
use crate::proxy::body::Body;
use crate::proxy::credential::Presented;
use crate::proxy::published::Published;

use super::Exchange;

impl Exchange {
    pub fn presented(&mut self, credential: Option<&Presented<'_>>) {
        if let Some(browser) = &mut self.browser {
            browser.presented_by(credential.map(Presented::carrier));
        }
    }

    /// Adds the cookies that the request's session came to.
    pub fn dress(&mut self, response: &mut Response<Body>) {
        if let Some(browser) = &mut self.browser {
            browser.dress(response, &self.core.published());
        }
    }

    /// The same for a refusal, which may become the way to the login page.
    pub fn dress_refusal(
        &mut self,
        rejection: &Rejection,
        published: &Published,
        response: Response<Body>,
    ) -> Response<Body> {
        match &mut self.browser {
            None => response,
            Some(browser) => browser.refused(rejection, published, response),
        }
    }

    /// A cookie of the session that counts as none here, and never will again, goes.
    pub fn ignored(&mut self, why: Option<&Rejection>) {
        if let (Some(browser), Some(why)) = (&mut self.browser, why) {
            browser.ignored(why, &self.core.published());
        }
    }

    /// Where a page that is refused may go, for a proxy that sends it there.
    pub fn way_to_login(&mut self, rejection: &Rejection) -> Option<HeaderValue> {
        self.browser.as_mut()?.way_to_login(rejection)
    }
}
